import csv
import json
from dataclasses import replace

import pytest

from trading_rlhf.broker import SCHEMA_VERSION, Approval, export_signals, read_signals
from trading_rlhf.errors import BrokerError


def test_json_holds_everything(make_signal, tmp_path) -> None:
    signals = [make_signal(), make_signal(symbol="IBM", p=0.25)]
    as_json, _ = export_signals(signals, tmp_path / "out")
    assert read_signals(as_json) == signals
    assert {file.name for file in as_json.parent.iterdir()} == {"signals.csv", "signals.json"}
    assert json.loads(as_json.read_text())["version"] == SCHEMA_VERSION


def test_csv_has_one_row_per_signal(make_signal, tmp_path) -> None:
    approvals = tuple(Approval(f"answer-{i}", "ann", "approve") for i in (1, 2))
    _, as_csv = export_signals([replace(make_signal(), approvals=approvals)], tmp_path)
    (row,) = csv.DictReader(as_csv.read_text().splitlines())
    assert (row["symbol"], row["side"], float(row["target"])) == ("AAPL", "buy", 0.10)
    assert row["approvals"] == "answer-1 answer-2"
    assert list(row) == list(make_signal().to_json())


def test_csv_text_is_no_formula(make_signal, tmp_path) -> None:
    _, as_csv = export_signals([make_signal(symbol="=1+1", held=-0.2)], tmp_path)
    (row,) = csv.DictReader(as_csv.read_text().splitlines())
    assert row["symbol"] == "'=1+1"
    assert row["held"] == "-0.2"


def test_no_signals_make_readable_files(tmp_path) -> None:
    as_json, as_csv = export_signals([], tmp_path)
    assert read_signals(as_json) == []
    assert len(as_csv.read_text().splitlines()) == 1


def test_a_failed_write_leaves_the_old_file(make_signal, tmp_path, monkeypatch) -> None:
    as_json, _ = export_signals([make_signal()], tmp_path)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(BrokerError, match="No space left"):
        export_signals([make_signal(symbol="IBM")], tmp_path)
    assert read_signals(as_json)[0].symbol == "AAPL"


@pytest.mark.parametrize("text", [None, "{", "[]", '{"signals": 3}', '{"signals": [{"a": 1}]}'])
def test_a_damaged_file_is_refused(tmp_path, text) -> None:
    path = tmp_path / "signals.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BrokerError):
        read_signals(path)
