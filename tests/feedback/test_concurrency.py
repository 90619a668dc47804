"""Several processes at one database, and one that dies in the middle."""

import subprocess
import sys
from collections import Counter

from trading_rlhf.feedback import ReviewDesk
from trading_rlhf.store import read_events, verify, write_head

ANSWERS = 30

WORKER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from trading_rlhf.feedback import ReviewDesk
from trading_rlhf.store import open_store, write_head

path, key, reviewer, count = sys.argv[1:]
clock = lambda: datetime(2026, 1, 5, 12, tzinfo=UTC)
with open_store(path, key.encode(), clock) as store:
    desk = ReviewDesk(store, clock)
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(int(count)):
        item = desk.next_item(reviewer)
        for verdict in ("approve", "reject"):
            desk.submit(reviewer, item.proposal.id, verdict, token=item.token, seconds=1.0)
        write_head(store, Path(path).with_name("audit_head.json"))
"""

DYING = """
import os, sys
from datetime import UTC, datetime
from trading_rlhf.feedback import ReviewDesk
from trading_rlhf.feedback.intake import take_answers
from trading_rlhf.feedback.records import Submission
from trading_rlhf.store import open_store

path, key, reviewer = sys.argv[1:]
clock = lambda: datetime(2026, 1, 5, 12, tzinfo=UTC)
with open_store(path, key.encode(), clock) as store, store.write() as session:
    for n in range(3):
        one = Submission(reviewer, f"proposal-{n}", "approve", f"t{n}", 1.0, note="lost")
        take_answers(session, [one], clock(), 1)
    session.flush()
    print("stored, not committed", flush=True)
    os.kill(os.getpid(), 9)
"""


def start(script, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_four_processes_lose_and_double_nothing(store, path, audit_key, desk, person, proposal):
    reviewers = [person(name).id for name in ("ann", "bob", "eve", "dan")]
    desk.add_proposals([proposal(n) for n in range(ANSWERS * len(reviewers))])
    workers = [start(WORKER, path, audit_key.decode(), who, ANSWERS) for who in reviewers]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        worker.communicate(timeout=240)
        assert worker.returncode == 0

    answers = desk.standing_answers()
    assert Counter(answer.reviewer for answer in answers) == dict.fromkeys(reviewers, ANSWERS)
    assert len({answer.proposal_id for answer in answers}) == ANSWERS * len(reviewers)
    assert {answer.verdict for answer in answers} == {"approve"}
    with store.read() as session:
        assert len(read_events(session, "answer")) == ANSWERS * len(reviewers)
    assert verify(store, path.with_name("audit_head.json")).problems == []


def test_a_process_killed_in_a_transaction_leaves_nothing(
    store, path, audit_key, desk, ann, proposal, clock
):
    desk.add_proposals([proposal(n) for n in range(3)])
    head = path.with_name("audit_head.json")
    write_head(store, head)
    worker = start(DYING, path, audit_key.decode(), ann)
    out, _ = worker.communicate(timeout=240)
    assert out == "stored, not committed\n"
    assert worker.returncode == -9

    assert desk.standing_answers() == []
    assert verify(store, head).problems == []
    again = ReviewDesk(store, clock).submit(ann, "proposal-0", "reject", token="t0", seconds=1.0)
    assert again.verdict == "reject"
