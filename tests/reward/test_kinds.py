"""Every kind of answer teaches the model what the desk likes; shuffled, none does."""

import math
from dataclasses import replace

import pytest
import torch

from tests.processor_time import processor_seconds
from tests.reward.synthetic import NAMES, answers, random_trades
from trading_rlhf.feedback.simulated import SimulatedDeskConfig, SimulatedTrader, StyleDesk
from trading_rlhf.feedback.simulated_kinds import (
    SIMULATED_TAGS,
    compare,
    desk_reasons,
    give_reasons,
    rate,
    wanted_shares,
)
from trading_rlhf.proposals import TradeTensors
from trading_rlhf.reward import (
    Answers,
    Comparisons,
    FitConfig,
    Fitted,
    ModelDesk,
    Ratings,
    Resizes,
    Tags,
    Verdicts,
    fit_calibrated,
    fit_reward_model,
)

DESK = StyleDesk.of("trend", NAMES)
TRADER = SimulatedTrader("simulated", DESK, SimulatedDeskConfig())
CONFIG = FitConfig(members=3, iterations=120)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def mixed(each: int, seed: int = 0) -> Answers:
    """As many verdicts, pairs, ratings and tagged trades, and the resizes among other trades."""
    chance = generator(seed + 50)
    first, second, rated, tagged, wide = (random_trades(each, chance) for _ in range(5))
    pairs = compare(TRADER, first.approval(DESK), second.approval(DESK), chance)
    large = (wide.held[:, 0] + 0.4).clamp(max=0.9)
    wide = replace(wide, target=large)
    share = wanted_shares(DESK, wide)
    kept = (share > 0) & (share < 1)
    smaller = TradeTensors(wide.features[kept], wide.held[kept], wide.target[kept], wide.bar[kept])
    given = give_reasons(TRADER, desk_reasons(DESK, tagged), chance)
    return Answers(
        answers("trend", each, seed).verdicts,
        1,
        Comparisons.of_trades(first, second, pairs),
        Ratings.of_trades(rated, rate(TRADER, rated.approval(DESK), chance)),
        Resizes.of_trades(smaller, share[kept], wide),
        Tags.of_trades(tagged, given, SIMULATED_TAGS),
    )


def accuracy(fitted: Fitted) -> float:
    fresh = random_trades(2000, generator(99))
    liked = fresh.approval(DESK) > 0.5
    return float(((fresh.approval(ModelDesk(fitted.model)) > 0.5) == liked).float().mean())


@pytest.fixture(scope="module")
def many() -> Answers:
    return mixed(250)


@pytest.fixture(scope="module")
def few() -> Answers:
    """Hardly any verdicts, so that what is learned comes from the other kinds."""
    return Answers(answers("trend", 40, 7).verdicts, 1)


@pytest.mark.parametrize("kind", ["comparisons", "ratings"])
def test_each_kind_teaches_what_few_verdicts_do_not(many, few, kind):
    alone = accuracy(fit_reward_model(few, CONFIG, generator()))
    more = replace(few, **{kind: getattr(many, kind)})
    blind = replace(few, **{kind: getattr(many, kind).shuffled(generator(1))})
    taught = accuracy(fit_reward_model(more, CONFIG, generator()))
    assert taught > alone + 0.05
    assert taught > accuracy(fit_reward_model(blind, CONFIG, generator())) + 0.1


def test_a_resize_teaches_that_less_is_liked_more(many, few):
    sizes = many.resizes
    assert sizes.count > 10

    def preferred(answered: Answers) -> float:
        model = fit_reward_model(answered, CONFIG, generator()).model
        wanted, proposed = (
            model.logits_of_inputs(x.unsqueeze(1)) for x in (sizes.wanted, sizes.proposed)
        )
        return float((wanted - proposed).mean())

    assert preferred(replace(few, resizes=sizes)) > preferred(few) + 0.5


def test_wanted_inputs_are_those_of_the_own_weight():
    trades = random_trades(20, generator())
    share = torch.full((20,), 0.25)
    resizes = Resizes.of_trades(trades, share, trades)
    held = trades.held[:, 0]
    moved = TradeTensors(
        trades.features, trades.held, held + 0.25 * (trades.target - held), trades.bar
    )
    said = torch.arange(20) % 2
    assert torch.equal(resizes.wanted, Verdicts.of_trades(moved, said).inputs)
    assert torch.equal(resizes.proposed, Verdicts.of_trades(trades, said).inputs)


def test_reasons_get_heads_of_their_own(many):
    tags = fit_reward_model(many, CONFIG, generator()).tags
    fresh = random_trades(2000, generator(98))
    p, true = tags.probability(fresh)[0], desk_reasons(DESK, fresh)
    assert tags.names == SIMULATED_TAGS
    for k, name in enumerate(SIMULATED_TAGS):
        if name == "chasing":
            assert not bool(true[:, k].any())
            assert float(p[:, k].mean()) < 0.3
        else:
            assert float(p[true[:, k], k].mean()) > float(p[~true[:, k], k].mean()) + 0.15


def test_a_habit_of_preferring_the_left_is_found_and_ties_are_counted():
    chance = generator(3)
    first, second = random_trades(400, chance), random_trades(400, chance)
    said = compare(TRADER, first.approval(DESK), second.approval(DESK), chance)
    who = torch.arange(400) % 2
    lazy = (torch.rand(400, generator=chance) < 0.4) & (who == 1)
    leftist = torch.where(lazy, 0, said)
    verdicts = answers("trend", 100, 0, reviewers=2).verdicts

    def fitted(preferred: torch.Tensor) -> Fitted:
        pairs = Comparisons.of_trades(first, second, preferred, who)
        return fit_reward_model(Answers(verdicts, 2, pairs), CONFIG, generator())

    side = fitted(leftist).effects.side[0].mean(0)
    assert float(side[1]) > float(side[0].abs()) + 0.3
    more_ties = torch.where(torch.rand(400, generator=chance) < 0.5, 1, said)
    assert float((fitted(more_ties).effects.tie - fitted(said).effects.tie).mean()) > 0.5


def test_generous_stars_are_a_habit_of_their_reviewer():
    trades = random_trades(300, generator(5))
    who = torch.arange(300) % 2
    stars = rate(TRADER, trades.approval(DESK), generator(6))
    kinder = torch.where(who == 1, (stars + 1).clamp(max=5), stars)
    verdicts = answers("trend", 100, 0, reviewers=2).verdicts

    def habit(given: torch.Tensor) -> float:
        rated = Answers(verdicts, 2, ratings=Ratings.of_trades(trades, given, who))
        effects = fit_reward_model(rated, CONFIG, generator()).effects
        assert bool((effects.thresholds().diff(dim=-1) > 0).all())
        return float((effects.generosity[0, :, 1] - effects.generosity[0, :, 0]).mean())

    assert habit(kinder) > habit(stars) + 0.2


def test_shuffling_moves_every_kind_and_keeps_what_was_said(many):
    shuffled = many.shuffled(generator())
    for name in ("verdicts", "comparisons", "ratings", "tags"):
        kind, moved = many.kinds[name], shuffled.kinds[name]
        said = kind.said[0]
        before, after = getattr(kind, said)[0], getattr(moved, said)[0]
        assert not torch.equal(before, after)
        assert sorted(before.tolist()) == sorted(after.tolist())
        for unmoved in set(kind.tensors()) - set(kind.said):
            assert torch.equal(getattr(kind, unmoved), getattr(moved, unmoved))


def test_the_placebo_wants_less_of_other_trades(many):
    """Otherwise it would still say which trades are too large."""
    wishes, moved = many.resizes, many.shuffled(generator()).resizes
    assert torch.equal(wishes.share, moved.share)
    resized = set(wishes.target[0].tolist())
    chosen = [weight in resized for weight in moved.target[0].tolist()]
    assert sum(chosen) < 0.8 * len(chosen)
    asked = moved.asked
    for row, weight in enumerate(moved.target[0].tolist()):
        at = asked.target.tolist().index(weight)
        assert weight == float(asked.target[at])
        assert int(moved.bar[0, row]) in asked.bar.tolist()


def test_no_kind_of_a_late_bar_is_learned_before_the_test(many):
    early = many.before(1000, torch.tensor([[3, 5]]))
    assert early.verdicts.bar[0].tolist() == many.verdicts.bar[0, [3, 5]].tolist()
    for name in ("comparisons", "ratings", "resizes", "tags"):
        kept, every = getattr(early, name), getattr(many, name)
        assert 0 < kept.count < every.count
        assert int(kept.bar.max()) < 1000
        assert kept.count == int((every.bar < 1000).sum())


def test_the_measured_quality_is_that_of_verdicts(many):
    _, measured = fit_calibrated(many, CONFIG, 20, generator())
    assert measured.answers == math.ceil(0.25 * 250 / 2)


def test_five_members_learn_from_a_thousand_mixed_answers_within_seconds():
    thousand = mixed(240)
    assert 1000 <= thousand.count <= 1100
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        spent = processor_seconds(
            lambda: fit_reward_model(thousand, FitConfig(), generator()), times=1
        )
    finally:
        torch.set_num_threads(threads)
    assert spent < 5.0
