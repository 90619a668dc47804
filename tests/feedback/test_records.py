import pytest

from trading_rlhf.errors import ReviewError
from trading_rlhf.store import read_events


def answer(desk, reviewer, proposal_id="proposal-0", verdict="approve", token="t", **more):
    return desk.submit(reviewer, proposal_id, verdict, token=token, seconds=2.5, **more)


def fill(desk, proposal, count=3, **changes):
    desk.add_proposals([proposal(n, **changes) for n in range(count)])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"verdict": "maybe"}, "verdict must be known"),
        ({"token": ""}, "carries a token"),
        ({"token": "x" * 201}, "carries a token"),
        ({"seconds": -1}, "number of seconds"),
        ({"seconds": float("nan")}, "number of seconds"),
        ({"rating": 0}, "from 1 to 5"),
        ({"rating": 6}, "from 1 to 5"),
        ({"rating": 2.5}, "from 1 to 5"),
        ({"rating": True}, "from 1 to 5"),
        ({"note": "x" * 2001}, "at most 2,000"),
        ({"note": "a\0b"}, "must be text"),
        ({"note": "\ud800"}, "must be text"),
        ({"tags": ("",)}, "1 to 40"),
        ({"tags": ("x" * 41,)}, "1 to 40"),
        ({"tags": tuple(f"own {n}" for n in range(21))}, "at most 20 own"),
        ({"resized_to": 0.2}, "only a resize"),
        ({"verdict": "resize"}, "finite weight"),
        ({"verdict": "resize", "resized_to": float("inf")}, "finite weight"),
        ({"verdict": "resize", "resized_to": 0.31}, "between 0.1000 .held. and 0.3000"),
        ({"verdict": "resize", "resized_to": 0.09}, "between"),
        ({"verdict": "resize", "resized_to": -0.2}, "between"),
    ],
)
def test_a_malformed_answer_is_refused(desk, ann, proposal, changes, sentence, store):
    fill(desk, proposal, 1)
    arguments = {"verdict": "approve", "token": "t", "seconds": 1.0, **changes}
    with pytest.raises(ReviewError, match=sentence):
        desk.submit(ann, "proposal-0", arguments.pop("verdict"), **arguments)
    with store.read() as session:
        assert read_events(session, "answer") == []


@pytest.mark.parametrize("weight", [0.1, 0.3, 0.2, 1 / 3 - 1 / 30])
def test_a_resize_may_go_from_held_to_target(desk, ann, proposal, weight):
    fill(desk, proposal, 1)
    assert answer(desk, ann, verdict="resize", resized_to=weight).resized_to == weight


def test_a_resize_of_a_sale_and_of_a_short(desk, ann, proposal):
    desk.add_proposals([proposal(0, held=0.2, target=-0.2), proposal(1, held=0.0, target=-0.2)])
    assert answer(desk, ann, "proposal-0", "resize", "a", resized_to=-0.1).resized_to == -0.1
    with pytest.raises(ReviewError, match="between"):
        answer(desk, ann, "proposal-1", "resize", "b", resized_to=0.1)


def test_twenty_own_tags_beside_the_known_are_allowed(desk, ann, proposal):
    fill(desk, proposal, 1)
    tags = ("too large", "news", *(f"own {n}" for n in range(20)))
    assert answer(desk, ann, tags=tags).tags == tags
