"""In which order items are asked: by chance, or by what an answer teaches."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest

from tests.processor_time import processor_seconds
from trading_rlhf.errors import ConfigError
from trading_rlhf.feedback.queue import (
    Candidate,
    Choice,
    Ranking,
    choose,
    expected_value,
    most_instructive,
)

NOW = datetime(2026, 1, 2, 21, tzinfo=UTC)
NAMES = [f"item-{n}" for n in range(400)]


def items(names=NAMES, deadline=None):
    return [Candidate(name, deadline) for name in names]


def ranking(values=None, share=0.25):
    """All items, the last one the most valuable."""
    every = {name: float(number) for number, name in reversed(list(enumerate(NAMES)))}
    return Ranking("proposal-1", every if values is None else values, share)


def asked(order, reviewer="ann", seed=0, turns=150, names=NAMES) -> list[Choice]:
    """One reviewer answers in turn."""
    left, choices = list(names), []
    for turn in range(min(turns, len(left))):
        choice = choose(items(left), reviewer, seed, order, turn)
        assert choice is not None
        left.remove(choice.proposal_id)
        choices.append(choice)
    return choices


def test_nothing_waits() -> None:
    assert choose([], "ann", 0) is None
    assert choose([], "ann", 0, ranking(), 3) is None


def test_without_a_ranking_everything_is_random() -> None:
    choices = asked(None)
    assert all(choice.random for choice in choices)
    numbers = [NAMES.index(choice.proposal_id) for choice in choices]
    assert abs(np.mean(numbers) - 199.5) < 25
    assert asked(None, "bob") != choices
    assert asked(None, seed=1) != choices


def test_the_most_valuable_come_first_and_a_quarter_is_drawn() -> None:
    choices = asked(ranking())
    picked = [choice.proposal_id for choice in choices if not choice.random]
    drawn = [NAMES.index(choice.proposal_id) for choice in choices if choice.random]
    assert all(NAMES.index(a) > NAMES.index(b) for a, b in pairwise(picked))
    assert 20 < len(drawn) < 60
    assert np.mean([NAMES.index(name) for name in picked]) > 280
    assert drawn != sorted(drawn)


@pytest.mark.parametrize("seed", range(5))
def test_what_is_drawn_does_not_depend_on_the_values(seed: int) -> None:
    """The random share is the same sample whatever the model thinks: nothing can bias it."""
    upward = {name: float(n) for n, name in enumerate(NAMES)}
    best_first = sorted(upward, key=upward.__getitem__)
    downward = ranking({name: -upward[name] for name in best_first})
    one, other = asked(ranking(), seed=seed), asked(downward, seed=seed)
    assert [c for c in one if c.random] == [c for c in other if c.random]
    assert [c for c in one if not c.random] != [c for c in other if not c.random]


def test_all_reviewers_leave_the_same_items_to_chance() -> None:
    """What one reviewer is given for its value must never be another's random draw."""
    drawn, picked = set(), set()
    for name in ("ann", "bob", "eve"):
        choices = asked(ranking(), name, turns=300)
        drawn |= {choice.proposal_id for choice in choices if choice.random}
        picked |= {choice.proposal_id for choice in choices if not choice.random}
    assert not drawn & picked


def test_the_order_is_the_same_each_time_and_differs_by_seed() -> None:
    assert asked(ranking()) == asked(ranking())
    assert asked(ranking()) != asked(ranking(), seed=1)


def test_the_order_in_which_candidates_come_does_not_matter() -> None:
    forward = choose(items(), "ann", 0, ranking(), 0)
    assert choose(items(NAMES[::-1]), "ann", 0, ranking(), 0) == forward


def test_equal_values_keep_the_rankings_order() -> None:
    order = dict.fromkeys(NAMES, 1.0)
    picked = [c.proposal_id for c in asked(ranking(order)) if not c.random]
    assert picked == sorted(picked, key=NAMES.index)


def test_what_a_ranking_leaves_over_is_no_random_sample() -> None:
    best = dict(list(ranking().values.items())[:40])
    choices = asked(ranking(best), turns=400)
    kept_apart = {choice.proposal_id for choice in choices if choice.random}
    assert 70 < len(kept_apart) < 130
    # Once the valued ones are used up, only what was kept apart is drawn, as long as it lasts.
    last = choices[-(400 - 40 - len(kept_apart)) :]
    assert not any(choice.random for choice in last)
    assert len({choice.proposal_id for choice in choices}) == 400


def test_a_deadline_comes_before_any_value() -> None:
    late = items(["late"], NOW + timedelta(hours=9))
    soon = items(["soon", "soon-too"], NOW + timedelta(hours=8))
    order = {"item-1": 9.0, "late": 5.0, "soon-too": 2.0, "soon": 1.0}
    for turn in range(40):
        choice = choose([*items(), *late, *soon], "ann", 0, ranking(order), turn)
        assert choice is not None
        assert choice.proposal_id in ("soon", "soon-too")
    choice = choose([*items(), *late], "ann", 0, ranking(order), 0)
    assert choice is not None
    assert choice.proposal_id == "late"
    valued = choose([*items(), *soon], "ann", 0, ranking(order, share=1e-9), 0)
    assert valued == Choice("soon-too", random=False)


def value(disagreement=0.1, notional=1e4, left=np.inf, seconds=6.0) -> float:
    given = (disagreement, notional, left, seconds)
    return float(expected_value(*(np.array([number]) for number in given))[0])


def test_value_is_disagreement_times_notional_times_urgency_per_second() -> None:
    assert value() == pytest.approx(0.1 * 1e4 / 6.0)
    assert value(disagreement=0.2) == pytest.approx(2 * value())
    assert value(notional=3e4) == pytest.approx(3 * value())
    assert value(seconds=12.0) == pytest.approx(value() / 2)
    assert value(left=0.0) == pytest.approx(2 * value())
    assert value(left=-5.0) == value(left=0.0)
    assert value(left=86_400.0) == pytest.approx(1.5 * value())
    with pytest.raises(ConfigError, match="some time"):
        value(seconds=0.0)


def test_a_near_duplicate_is_asked_about_once() -> None:
    generator = np.random.default_rng(0)
    points = generator.standard_normal((50, 6))
    points[1] = points[0] + 1e-3
    values = np.ones(50)
    values[[0, 1]] = (9.0, 8.0)
    none = np.zeros((0, 6))
    chosen, worth = most_instructive(values, points, none, 50, 0.5)
    assert chosen[0] == 0
    assert chosen[-1] == 1
    assert worth[0] == 9.0
    assert worth[-1] < 1e-3
    plain, _ = most_instructive(values, points, none, 50, 0.0)
    assert plain[:2] == [0, 1]
    assert plain[2:] == list(range(2, 50))
    answered, _ = most_instructive(values, points, points[:1], 50, 0.5)
    assert set(answered[-2:]) == {0, 1}


def test_a_greedy_batch_is_what_its_definition_says() -> None:
    generator = np.random.default_rng(1)
    points, asked_about = generator.standard_normal((30, 4)), generator.standard_normal((7, 4))
    points[:, 3] = 2.0
    values = generator.random(30)
    chosen, worth = most_instructive(values, points, asked_about, 12, 0.8)
    scale = points.std(0)
    scale[3] = np.inf
    seen = [row / scale for row in asked_about]
    left = set(range(30))
    for got, told in zip(chosen, worth, strict=True):
        score = {
            i: values[i]
            * (1 - np.exp(-min(((points[i] / scale - s) ** 2).mean() for s in seen) / (2 * 0.64)))
            for i in left
        }
        best = max(score, key=score.__getitem__)
        assert (got, pytest.approx(score[best])) == (best, told)
        left.remove(best)
        seen.append(points[best] / scale)


def test_units_of_an_input_do_not_matter_and_ties_go_to_the_first() -> None:
    generator = np.random.default_rng(2)
    points, none = generator.standard_normal((40, 5)), np.zeros((0, 5))
    scaled = points * np.array([1.0, 100.0, 1e-3, 1.0, 7.0])
    chosen, _ = most_instructive(np.ones(40), points, none, 10, 0.5)
    assert most_instructive(np.ones(40), scaled, none, 10, 0.5)[0] == chosen
    assert chosen[0] == 0
    same, _ = most_instructive(np.ones(4), np.zeros((4, 5)), none, 4, 0.5)
    assert same == [0, 1, 2, 3]


def test_there_may_be_fewer_items_than_wanted_or_none() -> None:
    none = np.zeros((0, 3))
    assert most_instructive(np.zeros(0), none, none, 10, 0.5) == ([], [])
    assert len(most_instructive(np.ones(3), np.eye(3), none, 10, 0.5)[0]) == 3


def test_ten_thousand_items_are_ranked_at_once() -> None:
    generator = np.random.default_rng(0)
    points, asked_about = generator.standard_normal((10_000, 24)), generator.random((700, 24))
    values = generator.random(10_000)
    spent = processor_seconds(lambda: most_instructive(values, points, asked_about, 200, 0.5))
    assert spent < 1.0
    names = [f"item-{n}" for n in range(10_000)]
    order = ranking(dict.fromkeys(names[:200], 1.0))
    waiting = items(names)
    assert processor_seconds(lambda: choose(waiting, "ann", 0, order, 3)) < 0.5
