from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_rlhf.errors import ConfigError
from trading_rlhf.feedback import Answer, agreement, weights_by_reviewer
from trading_rlhf.feedback.reviewers import krippendorff_alpha


def answer(reviewer, item, verdict="approve"):
    return Answer(
        event_id="answer-1",
        proposal_id=f"p{item}",
        reviewer=reviewer,
        kind="verdict",
        verdict=verdict,
        resized_to=None,
        rating=None,
        tags=(),
        seconds=1.0,
        at=datetime(2026, 1, 5, tzinfo=UTC),
        simulated=False,
        certified=True,
        hindsight=False,
        note_hash=None,
    )


def answers_of(counts):
    return [answer(name, n) for name, count in counts.items() for n in range(count)]


def shares(answers, weights):
    total = Counter()
    for one, weight in zip(answers, weights, strict=True):
        total[one.reviewer] += weight
    return {name: value / sum(total.values()) for name, value in total.items()}


def test_nine_pairs_are_not_enough():
    said = [answer(who, n) for n in range(9) for who in ("a", "b")]
    found = agreement(said)
    assert (found.items, found.pairs, found.share, found.alpha) == (9, 9, None, None)
    assert found.text == "not enough answers yet: 9 of 10 pairs"


def test_agreement_counts_pairs():
    said = [answer("a", n) for n in range(10)]
    said += [answer("b", n, "reject" if n < 3 else "approve") for n in range(10)]
    said += [answer("c", n, "cannot_tell") for n in range(10)]
    said += [answer("a", 99)]
    found = agreement(said)
    assert (found.items, found.pairs, found.share) == (10, 10, 0.7)
    assert found.text == "70% of 10 pairs agree, alpha -0.12"


def test_full_agreement_on_one_verdict_has_no_alpha():
    found = agreement([answer(who, n) for n in range(10) for who in ("a", "b")])
    assert (found.share, found.alpha) == (1.0, None)
    assert found.text == "100% of 10 pairs agree, alpha not defined"


def test_alpha_of_the_published_example():
    """Krippendorff (2011), section C: four observers, twelve units, missing data; alpha .743."""
    table = """
    1 2 3 3 2 1 4 1 2 . . .
    1 2 3 3 2 2 4 1 2 5 . 3
    . 3 3 3 2 3 4 2 2 5 1 .
    1 2 3 3 2 4 4 1 2 5 1 .
    """
    rows = [line.split() for line in table.split("\n") if line.strip()]
    units = [[cell for cell in unit if cell != "."] for unit in zip(*rows, strict=True)]
    alpha = krippendorff_alpha([unit for unit in units if len(unit) > 1])
    assert alpha == pytest.approx(0.743, abs=5e-4)


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from("ab"), min_size=2, max_size=4), min_size=1, max_size=20))
def test_alpha_equals_the_definition(units):
    """Observed over expected disagreement, written the long way."""
    alpha = krippendorff_alpha(units)
    values = [value for unit in units for value in unit]
    n = len(values)
    expected = sum(values[i] != values[j] for i in range(n) for j in range(n) if i != j) / (
        n * (n - 1)
    )
    if expected == 0:
        assert alpha is None
        return
    observed = 0.0
    for unit in units:
        m = len(unit)
        differ = sum(unit[i] != unit[j] for i in range(m) for j in range(m) if i != j)
        observed += differ / (m - 1) / n
    assert alpha == pytest.approx(1 - observed / expected)


def test_nobody_carries_more_than_forty_percent():
    said = answers_of({"a": 1000, "b": 30, "c": 20})
    assert shares(said, weights_by_reviewer(said)) == pytest.approx(
        {"a": 0.4, "b": 0.36, "c": 0.24}
    )
    said = answers_of({"a": 1000, "b": 100, "c": 20})
    assert shares(said, weights_by_reviewer(said)) == pytest.approx({"a": 0.4, "b": 0.4, "c": 0.2})


def test_equal_reviewers_keep_full_weight():
    said = answers_of({"a": 20, "b": 20, "c": 20})
    np.testing.assert_array_equal(weights_by_reviewer(said), 1.0)


def test_few_reviewers_count_alike():
    said = answers_of({"a": 100, "b": 25})
    assert shares(said, weights_by_reviewer(said)) == pytest.approx({"a": 0.5, "b": 0.5})
    np.testing.assert_array_equal(weights_by_reviewer(answers_of({"a": 7})), 1.0)
    assert len(weights_by_reviewer([])) == 0


@settings(deadline=None)
@given(
    st.dictionaries(st.text("abcdefgh", min_size=1), st.integers(1, 300), min_size=1, max_size=8),
    st.sampled_from([0.2, 0.25, 1 / 3, 0.4, 0.5, 1.0]),
)
def test_the_cap_holds_whatever_the_counts(counts, cap):
    said = answers_of(counts)
    weights = weights_by_reviewer(said, cap)
    assert (weights > 0).all()
    assert (weights <= 1).all()
    share = shares(said, weights)
    assert max(share.values()) <= max(cap, 1 / len(counts)) * (1 + 1e-9)
    # Whoever stays below the cap keeps full weight.
    below = max(cap, 1 / len(counts)) * (1 - 1e-9)
    free = [share[one.reviewer] < below for one in said]
    assert (weights[free] == 1).all()


@pytest.mark.parametrize("cap", [0, -1, 1.5, float("nan")])
def test_a_cap_that_is_no_share_is_refused(cap):
    with pytest.raises(ConfigError, match="share above 0"):
        weights_by_reviewer([], cap)
