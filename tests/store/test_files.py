"""Files that are whole or not there."""

from pathlib import Path

import pytest

from trading_rlhf.store.files import replace_text, whole_file


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "new/folder/file.txt"
    replace_text(path, "old ü")
    with whole_file(path) as aside:
        aside.write_text("new")
        # Whoever reads in the middle sees a whole file.
        assert path.read_text(encoding="utf-8") == "old ü"
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_in_the_middle_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def stop() -> None:
        with whole_file(path) as aside:
            aside.write_text("ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_written_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), whole_file(path):
        pass
    assert path.read_text() == "old"
