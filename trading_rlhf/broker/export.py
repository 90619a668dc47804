"""Signals as files for other programs: JSON with everything, CSV with one row per signal."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

from trading_rlhf.broker.signal import SCHEMA_VERSION, Signal
from trading_rlhf.errors import BrokerError
from trading_rlhf.store.files import replace_text

__all__ = ["export_signals", "read_signals"]


def export_signals(signals: Sequence[Signal], directory: Path) -> tuple[Path, Path]:
    """Write signals.json and signals.csv, each complete or not at all.

    Raises:
        BrokerError: the folder cannot be written.
    """
    document = {"version": SCHEMA_VERSION, "signals": [signal.to_json() for signal in signals]}
    as_json, as_csv = directory / "signals.json", directory / "signals.csv"
    try:
        replace_text(as_json, json.dumps(document, indent=2, allow_nan=False) + "\n")
        replace_text(as_csv, _table(signals))
    except OSError as error:
        raise BrokerError(
            "signals need a folder that can be written",
            f"{directory} ({error.strerror})",
            "Choose another one.",
        ) from None
    return as_json, as_csv


def read_signals(path: Path) -> list[Signal]:
    """Read a signals.json.

    Raises:
        BrokerError: the file is missing, damaged or of another version.
    """
    try:
        document = json.loads(path.read_text("utf-8"))
        return [Signal.from_json(item) for item in document["signals"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BrokerError(
            "exported signals must be a complete JSON file",
            f"{path} ({type(error).__name__})",
            "Export them again.",
        ) from None


def _table(signals: Sequence[Signal]) -> str:
    text = io.StringIO()
    columns = [*Signal.__dataclass_fields__]
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for signal in signals:
        row = signal.to_json()
        row["approvals"] = " ".join(approval.event_id for approval in signal.approvals)
        writer.writerow({name: _plain(value) for name, value in row.items()})
    return text.getvalue()


def _plain(value: object) -> object:
    """Keep a spreadsheet from taking text for a formula."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return value
