"""The record checks itself and survives JSON."""

import json
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from trading_rlhf.errors import DataError, LookAheadError
from trading_rlhf.proposals import Proposal


@pytest.fixture
def proposal(desk, book) -> Proposal:
    return desk.maker.at(150, book, "live")[0]


def test_it_comes_back_from_json_equal(proposal):
    text = json.dumps(proposal.to_json())
    assert Proposal.from_json(json.loads(text)) == proposal


def test_an_incomplete_record_is_refused(proposal):
    data = proposal.to_json()
    del data["price"], data["target"]
    with pytest.raises(DataError, match=r"no \['price', 'target'\]"):
        Proposal.from_json(data)


def test_fields_of_a_later_version_are_left_out(proposal):
    assert Proposal.from_json({**proposal.to_json(), "colour": "red"}) == proposal


@pytest.mark.parametrize("name", ["known_at", "decided_at", "earliest_fill_at", "expires_at"])
def test_naive_times_are_refused(proposal, name):
    with pytest.raises(DataError, match=f"{name} must carry a time zone"):
        replace(proposal, **{name: datetime(2005, 1, 1)})


@pytest.mark.parametrize(
    ("name", "hours"), [("decided_at", -1), ("earliest_fill_at", -100), ("known_at", 100)]
)
def test_times_out_of_order_are_a_look_ahead(proposal, name, hours):
    moved = getattr(proposal, name) + timedelta(hours=hours)
    with pytest.raises(LookAheadError, match="known, then decided, then filled"):
        replace(proposal, **{name: moved})


@pytest.mark.parametrize(
    ("change", "message"),
    [({"mode": "paper"}, "mode must be live"), ({"features": (1.0,)}, "one length")],
)
def test_other_nonsense_is_refused(proposal, change, message):
    with pytest.raises(DataError, match=message):
        replace(proposal, **change)


def test_a_proposal_stored_before_explanations_still_loads(proposal):
    """Neither the explanation nor the part of the decision's bar was stored then."""
    data = proposal.to_json()
    del data["explanation"]
    for reason in data["reasons"]:
        del reason["latest"]
    old = Proposal.from_json(json.loads(json.dumps(data)))
    assert old.explanation is None
    assert {reason.latest for reason in old.reasons} == {None}
    assert replace(old, explanation=proposal.explanation, reasons=proposal.reasons) == proposal
