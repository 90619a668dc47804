from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trading_rlhf.broker import ModelOpinion, ReleaseConfig, release_signals

HUMAN = ReleaseConfig()
MODEL = ReleaseConfig(gate="model", threshold=0.7)
BOTH = ReleaseConfig(gate="both", threshold=0.7)
HOUR = timedelta(hours=1)


@pytest.fixture
def release(make_proposal, make_answer, clock):
    """Release p1 with one answer, each changed by keywords; answer None is silence."""

    def run(proposal=None, answer=None, gate=HUMAN, model=None):
        answers = [] if answer is None else [make_answer(**answer)]
        proposals = [make_proposal(**(proposal or {}))]
        return release_signals(proposals, answers, clock(), gate, chain_head="head", model=model)

    return run


def opinion(p: float, human_only: bool = True) -> ModelOpinion:
    return ModelOpinion("model-1", {"p1": p}, human_only)


def test_an_approved_proposal_becomes_a_signal(release, make_proposal) -> None:
    (signal,), refusals = release(answer={})
    proposal = make_proposal()
    assert refusals == []
    assert (signal.side, signal.held, signal.target) == ("buy", 0.02, 0.10)
    assert signal.shares == pytest.approx(proposal.shares)
    assert [a.event_id for a in signal.approvals] == ["answer-1"]
    assert (signal.policy_id, signal.data_sha256) == (proposal.policy_id, proposal.data_sha256)
    assert (signal.chain_head, signal.valid_until) == ("head", proposal.expires_at)
    assert not signal.simulated
    assert signal.reward_model_id is None


@pytest.mark.parametrize(
    ("proposal", "answer", "sentence"),
    [
        ({}, None, "0 of 1 needed reviewers approved it"),
        ({}, {"verdict": "cannot_tell"}, "0 of 1 needed"),
        ({}, {"verdict": "reject"}, "ann rejected it"),
        ({}, {"hindsight": True}, "1 more answers do not count"),
        ({}, {"certified": False}, "1 more answers do not count"),
        ({"mode": "history"}, {}, "it is a history item"),
        ({"mode": "practice"}, {}, "it is a practice item"),
        ({}, {"proposal_id": "another"}, "0 of 1 needed"),
        ({}, {"verdict": "resize", "resized_to": 0.02}, "resized it to no trade"),
        ({}, {"verdict": "resize", "resized_to": 0.02 + 1e-10}, "resized it to no trade"),
    ],
)
def test_what_is_not_approved_stays(release, proposal, answer, sentence) -> None:
    signals, (refusal,) = release(proposal, answer)
    assert signals == []
    assert sentence in refusal.sentence
    assert refusal.sentence.startswith("AAPL was not released because ")
    assert refusal.sentence.endswith(".")
    assert refusal.proposal_id == "p1"


def test_an_expired_proposal_stays(release, make_proposal, clock) -> None:
    clock.set(make_proposal().expires_at + timedelta(seconds=1))
    signals, (refusal,) = release(answer={})
    assert signals == []
    assert refusal.sentence == ("AAPL was not released because it expired at 2026-01-06 11:00 UTC.")


def test_the_last_moment_is_in_time(release, make_proposal, clock) -> None:
    clock.set(make_proposal().expires_at)
    assert len(release(answer={})[0]) == 1


def test_an_answer_after_expiry_or_from_the_future_does_not_count(
    release, make_proposal, clock
) -> None:
    late = {"at": make_proposal().expires_at + HOUR}
    assert release(answer=late)[0] == []
    assert release(answer={"at": clock() + HOUR})[0] == []


def test_a_proposal_decided_later_than_now_stays(release, make_proposal, clock) -> None:
    clock.set(make_proposal().decided_at - HOUR)
    signals, (refusal,) = release(answer={})
    assert signals == []
    assert "decided only at" in refusal.sentence


def test_a_resize_replaces_the_target(release, make_proposal) -> None:
    (signal,), _ = release(answer={"verdict": "resize", "resized_to": 0.05})
    assert signal.target == 0.05
    assert signal.shares == pytest.approx(0.03 * 1_000_000 / 200)
    assert signal.approvals[0].verdict == "resize"


def test_the_smallest_approved_change_is_taken(make_proposal, make_answer, clock) -> None:
    answers = [
        make_answer(reviewer="ann"),
        make_answer(reviewer="bob", verdict="resize", resized_to=0.04),
        make_answer(reviewer="cy", verdict="resize", resized_to=0.07),
    ]
    (signal,), _ = release_signals([make_proposal()], answers, clock(), HUMAN, chain_head="")
    assert signal.target == 0.04
    assert [a.reviewer for a in signal.approvals] == ["ann", "bob", "cy"]


def test_one_reject_outweighs_approvals(make_proposal, make_answer, clock) -> None:
    answers = [make_answer(), make_answer(reviewer="bob", verdict="reject")]
    signals, (refusal,) = release_signals([make_proposal()], answers, clock(), HUMAN, chain_head="")
    assert signals == []
    assert "bob rejected it" in refusal.sentence


def test_two_approvals_come_from_two_reviewers(make_proposal, make_answer, clock) -> None:
    gate = ReleaseConfig(approvals=2)
    twice = [make_answer(), make_answer(event_id="answer-2")]
    two = [make_answer(), make_answer(reviewer="bob")]
    for answers, released in ((twice, 0), (two, 1)):
        signals, _ = release_signals([make_proposal()], answers, clock(), gate, chain_head="")
        assert len(signals) == released


def test_a_later_proposal_supersedes_even_an_approved_one(
    make_proposal, make_answer, clock
) -> None:
    old = make_proposal(id="p1", decided_at=make_proposal().decided_at - HOUR,
                        known_at=make_proposal().known_at - HOUR)  # fmt: skip
    new = make_proposal(id="p2")
    answers = [make_answer(proposal_id="p1"), make_answer(proposal_id="p2", verdict="reject")]
    signals, refusals = release_signals([old, new], answers, clock(), HUMAN, chain_head="")
    assert signals == []
    assert "a later proposal of" in refusals[0].sentence


@pytest.mark.parametrize(
    ("gate", "answer", "model", "released"),
    [
        (MODEL, None, opinion(0.71), True),
        (MODEL, None, opinion(0.70), False),
        (MODEL, None, None, False),
        (MODEL, {"verdict": "reject"}, opinion(0.9), False),
        (BOTH, None, opinion(0.9), False),
        (BOTH, {}, opinion(0.9), True),
        (BOTH, {}, opinion(0.6), False),
        (HUMAN, {}, opinion(0.1), True),
        (HUMAN, None, opinion(0.9), False),
    ],
)
def test_gates(release, gate, answer, model, released) -> None:
    signals, refusals = release(answer=answer, gate=gate, model=model)
    assert (len(signals), len(refusals)) == ((1, 0) if released else (0, 1))
    if signals and model:
        p = model.probabilities["p1"]
        assert (signals[0].p, signals[0].reward_model_id) == (p, "model-1")


@pytest.mark.parametrize(
    ("gate", "answer", "model", "simulated"),
    [
        (HUMAN, {}, None, False),
        (HUMAN, {"simulated": True}, None, True),
        (HUMAN, {}, opinion(0.9, human_only=False), False),
        (MODEL, None, opinion(0.9, human_only=True), False),
        (MODEL, None, opinion(0.9, human_only=False), True),
        (BOTH, {}, opinion(0.9, human_only=False), True),
        (BOTH, {"simulated": True}, opinion(0.9, human_only=True), True),
    ],
)
def test_simulated_grounds_mark_the_signal(release, gate, answer, model, simulated) -> None:
    (signal,), _ = release(answer=answer, gate=gate, model=model)
    assert signal.simulated is simulated


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["approve", "reject", "cannot_tell"]), st.booleans(), st.booleans()
        ),
        max_size=5,
    ),
    st.sampled_from([HUMAN, MODEL, BOTH]),
    st.sampled_from([0.2, 0.9]),
)
def test_nothing_passes_against_a_counted_reject(
    make_proposal, make_answer, clock, given_answers, gate, p
) -> None:
    answers = [
        make_answer(reviewer=f"r{i}", verdict=verdict, certified=certified, hindsight=hindsight)
        for i, (verdict, certified, hindsight) in enumerate(given_answers)
    ]
    signals, refusals = release_signals(
        [make_proposal()], answers, clock(), gate, chain_head="", model=opinion(p)
    )
    valid = [v for v, certified, hindsight in given_answers if certified and not hindsight]
    human = "approve" in valid or gate is MODEL
    model = p > 0.7 or gate is HUMAN
    assert len(signals) == int(human and model and "reject" not in valid)
    assert len(signals) + len(refusals) == 1
