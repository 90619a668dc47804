"""Pairs, ratings, own weights and reasons of simulated traders, by counting."""

import pytest
import torch

from tests.reward.synthetic import NAMES, random_trades
from trading_rlhf.feedback import KNOWN_TAGS
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

DRAWS = 6000
DESK = StyleDesk.of("trend", NAMES)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def trader(mistake: float = 0.1, *, spammer: bool = False) -> SimulatedTrader:
    return SimulatedTrader(
        "simulated", None if spammer else DESK, SimulatedDeskConfig(mistake=mistake)
    )


def many(p: float) -> torch.Tensor:
    return torch.full((DRAWS,), p)


def test_pairs_follow_the_difference_of_true_logits_and_mistakes_swap_them():
    # Odds of 4 and of 1/4: a difference of log 16.
    said = compare(trader(0.1), many(0.8), many(0.2), generator())
    share = float((said == 0).float().mean())
    assert share == pytest.approx(0.1 + 0.8 * 16 / 17, abs=0.015)
    assert not bool((said == 1).any())
    assert bool((compare(trader(), many(0.55), many(0.5), generator()) == 1).all())


def test_ratings_follow_the_true_logit_and_mistakes_turn_the_scale_round():
    stars = rate(trader(0.0), many(0.5), generator())
    shares = [float((stars == k).float().mean()) for k in range(1, 6)]
    # Logistic noise around indifference falls below logits -2.2 and -.62 with .1 and .35.
    assert shares == pytest.approx([0.1, 0.25, 0.3, 0.25, 0.1], abs=0.02)
    sure = rate(trader(0.1), many(0.9999999), generator())
    assert float((sure == 1).float().mean()) == pytest.approx(0.1, abs=0.015)
    assert float((sure == 5).float().mean()) == pytest.approx(0.9, abs=0.015)


def test_a_spammer_draws_lots():
    spam = trader(spammer=True)
    assert float((compare(spam, many(0.9), many(0.1), generator()) == 1).float().mean()) > 0.3
    assert float(rate(spam, many(1.0), generator()).float().mean()) == pytest.approx(3, abs=0.1)
    true = torch.ones(DRAWS, 5, dtype=torch.bool)
    assert float(give_reasons(spam, true, generator()).float().mean()) == pytest.approx(
        0.2, abs=0.02
    )


def test_the_wanted_share_is_the_largest_that_the_desk_likes():
    trades = random_trades(400, generator())
    wide = TradeTensors(
        trades.features, trades.held, (trades.held[:, 0] + 0.5).clamp(max=0.95), trades.bar
    )
    share = wanted_shares(DESK, wide)
    held = wide.held[:, 0]

    def p_at(part: torch.Tensor) -> torch.Tensor:
        target = held + part * (wide.target - held)
        return TradeTensors(wide.features, wide.held, target, wide.bar).approval(DESK)

    some = (share > 0) & (share < 1)
    assert int(some.sum()) > 20
    assert bool((p_at(share)[some] > 0.5).all())
    assert bool((p_at(share + 0.05)[some] <= 0.5).all())
    assert bool((wide.approval(DESK)[share == 1] > 0.5).all())


def test_reasons_are_true_mostly_told_and_seldom_wrong():
    assert set(SIMULATED_TAGS) <= set(KNOWN_TAGS)
    trades = random_trades(DRAWS, generator())
    true = desk_reasons(DESK, trades)
    # A trend desk never minds chasing.
    chasing = SIMULATED_TAGS.index("chasing")
    assert not bool(true[:, chasing].any())
    side = (trades.target - trades.held[:, 0]).sign()
    against = side * trades.features[:, 0] < -0.5
    assert torch.equal(true[:, SIMULATED_TAGS.index("against trend")], against)
    given = give_reasons(trader(0.1), true, generator())
    assert float(given[true].float().mean()) == pytest.approx(0.7 * 0.98 + 0.3 * 0.02, abs=0.02)
    assert float(given[~true].float().mean()) == pytest.approx(0.02, abs=0.01)
