"""A process that opens a store twice must not lose what it writes after another one closed it."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from trading_rlhf.store import append, open_store, read_events

KEY = b"audit key of the tests, 32 bytes"

OTHER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from trading_rlhf.store import open_store, read_events
with open_store(Path(sys.argv[1]), b"audit key of the tests, 32 bytes",
                lambda: datetime(2026, 1, 5, tzinfo=UTC)) as store:
    with store.read() as session:
        print(len(read_events(session, "trial")))
"""


def count_elsewhere(path: Path) -> int:
    command = [sys.executable, "-c", OTHER, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_another_process_sees_what_is_written_after_it_closed(tmp_path: Path) -> None:
    path = tmp_path / "store.db"

    def clock() -> datetime:
        return datetime(2026, 1, 5, tzinfo=UTC)

    with open_store(path, KEY, clock) as first, open_store(path, KEY, clock) as second:
        with first.write() as session:
            append(session, "trial", "x", {}, actor="a")
        assert count_elsewhere(path) == 1
        with first.write() as session:
            append(session, "trial", "x", {}, actor="a")
        with second.read() as session:
            assert len(read_events(session, "trial")) == 2
        assert count_elsewhere(path) == 2
