"""Files that are whole or not there: written aside, then renamed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["replace_text", "whole_file"]


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a place to write a file that becomes ``path`` in one step when the block ends.

    The folder is made. A kill leaves the old file or the new one; an error in the block leaves the
    old one.

    Args:
        path: the file, which may be there.

    Raises:
        OSError: the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        yield aside
        # The rename must not reach the disk before the contents do.
        with aside.open("r+b") as file:
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


def replace_text(path: Path, text: str) -> None:
    """Write ``path`` in one step, making its folder; a kill leaves the old file or the new one.

    Raises:
        OSError: the folder cannot be written.
    """
    with whole_file(path) as aside:
        aside.write_text(text, encoding="utf-8")
