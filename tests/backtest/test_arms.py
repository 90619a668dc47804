"""The arms: their figures by hand, equal notional for the placebo, the gap closed."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from trading_rlhf.accounting import CostModel
from trading_rlhf.agent import Policy, PolicyConfig, Position, Walk, start_position, walk
from trading_rlhf.backtest import (
    Arm,
    ArmFigures,
    figures,
    gap_closed,
    matching_thresholds,
    mean_figures,
    shown_notional,
    stack_policies,
    walk_arms,
)
from trading_rlhf.backtest.arms import ENOUGH_ITEMS
from trading_rlhf.env import GateConfig, MarketTensors
from trading_rlhf.market import planted_market
from trading_rlhf.reward import ModelDesk, RewardModel

COSTS, GATE = CostModel(), GateConfig()
START, LENGTH = torch.tensor([20, 110]), 40


class LikesMomentum:
    """A desk whose taste is the first feature, bought or sold."""

    def __call__(self, features, held, target):
        return torch.sigmoid(2 * features[..., 0] * (target - held).sign())


class Constant:
    def __init__(self, p: float) -> None:
        self.p = p

    def __call__(self, features, held, target):
        return torch.full_like(held, self.p)


@pytest.fixture(scope="module")
def market() -> MarketTensors:
    planted = planted_market(np.random.default_rng(3), n_bars=200, n_assets=5)
    return MarketTensors.from_bars(planted.bars, planted.features)


def policy(seed: int) -> Policy:
    return Policy(5, PolicyConfig(hidden=8), 1, torch.Generator().manual_seed(seed))


def reward_model(seed: int) -> RewardModel:
    source = torch.Generator().manual_seed(seed)
    shapes = ((1, 2, 16), (1, 2), (1, 2, 16, 3), (1, 2, 3), (1, 2, 3))
    return RewardModel(*(torch.randn(*s, generator=source) for s in shapes), torch.ones(1))


def test_stacked_policies_keep_their_order():
    one, two = policy(1), policy(2)
    both = stack_policies([two, one, two])
    assert both.members == 3
    for row, part in enumerate((two, one, two)):
        for name, value in part.named_parameters():
            assert torch.equal(dict(both.named_parameters())[name][row], value[0])
    with torch.no_grad():
        both.head_bias.zero_()
    assert one.head_bias.any()


def test_an_arm_among_others_walks_as_alone(market):
    desk = LikesMomentum()
    arms = [
        Arm("base", policy(1), None, 0.5, desk),
        Arm("filter", policy(1), ModelDesk(reward_model(1)), 0.4, desk),
        Arm("free", policy(2), None, 0.5, None),
        Arm("oracle", policy(2), desk, 0.5, desk),
    ]
    walked = walk_arms(arms, market, START, LENGTH, COSTS, GATE)
    assert walked.held.shape == (LENGTH, 4, 2, 5)
    for row, arm in enumerate(arms):
        alone = walk(
            arm.policy, market, START, LENGTH, COSTS, GATE,
            model=arm.filter, thresholds=torch.tensor([arm.threshold]), decider=arm.decider,
        )  # fmt: skip
        assert torch.equal(walked.shown[:, row], alone.shown[:, 0])
        torch.testing.assert_close(walked.log_growth[:, row], alone.log_growth[:, 0])
    # The oracle asks only for what it likes; nothing it shows is refused.
    shown, executed = walked.shown[:, 3], walked.executed[:, 3]
    assert shown.any()
    assert torch.equal(shown, executed != 0)


def by_hand(n_steps: int = 4) -> Walk:
    """Two arms, one episode, two assets; the second arm shows nothing."""
    zero = torch.zeros(n_steps, 2, 1, 2, dtype=torch.float64)
    held, target, shown = zero.clone(), zero.clone(), zero.bool()
    executed, approval = zero.clone(), zero.clone()
    target[:, 0, 0, 0], target[:, 0, 0, 1] = 0.3, 0.1
    held[:, 0, 0, 0] = 0.1
    shown[:, 0, 0] = True
    shown[0, 0, 0, 0] = False
    approval[:, 0, 0, 0], approval[:, 0, 0, 1] = 0.9, 0.2
    executed[1:, 0, 0, 0] = 0.2
    growth = torch.zeros(n_steps, 2, 1, dtype=torch.float64)
    growth[:, 0, 0] = torch.tensor([0.01, -0.01, 0.02, 0.0] * (n_steps // 4)).double()
    end = start_position(2, 1, 2, torch.float64)
    return Walk(
        torch.arange(n_steps)[:, None], held, target, shown, executed, approval, growth, end
    )


def test_figures_by_hand():
    walked = by_hand(n_steps=32)
    found = figures(walked, 0)
    # 31 trades of .2 that are liked at .9, 32 of .1 that are liked at .2.
    assert found.shown == 63
    assert found.approval == pytest.approx((31 * 0.2 * 0.9 + 32 * 0.1 * 0.2) / (31 * 0.2 + 3.2))
    assert found.approval_count == pytest.approx((31 * 0.9 + 32 * 0.2) / 63)
    assert found.profit == pytest.approx(50.0)
    returns = np.tile(np.exp([0.01, -0.01, 0.02, 0.0]) - 1, 8)
    sharpe = returns.mean() / returns.std(ddof=1) * math.sqrt(252)
    assert found.sharpe == pytest.approx(sharpe, rel=1e-6)
    assert found.reviews == 63 / 32
    assert found.turnover == pytest.approx(0.2 * 31 / 32)
    assert shown_notional(walked, 0) == pytest.approx(31 * 0.2 + 3.2)


def test_approval_of_few_items_is_not_reported():
    few = figures(by_hand(n_steps=4), 0)
    assert few.shown == 7 < ENOUGH_ITEMS
    assert few.approval is None
    assert few.approval_count is None
    assert few.profit == pytest.approx(50.0)
    none = figures(by_hand(n_steps=32), 1)
    assert (none.shown, none.approval, none.reviews, none.turnover) == (0, None, 0.0, 0.0)
    assert shown_notional(by_hand(), 1) == 0.0


@pytest.fixture(scope="module")
def thresholds(market):
    """Bars of two placebos for the notional that another arm shows, and what each then shows."""
    policies, models = [policy(1), policy(2)], [reward_model(1), reward_model(2)]
    desk = LikesMomentum()
    wanted = shown_notional(
        walk_arms(
            [Arm("shaped", policy(3), ModelDesk(reward_model(3)), 0.6, desk)],
            market, START, LENGTH, COSTS, GATE,
        ), 0,
    )  # fmt: skip
    bars = matching_thresholds(
        policies, models, wanted, market, START, LENGTH, COSTS, GATE, decider=desk
    )

    def shows(arm: int, bar: float) -> float:
        one = Arm("placebo", policies[arm], ModelDesk(models[arm]), bar, desk)
        return shown_notional(walk_arms([one], market, START, LENGTH, COSTS, GATE), 0)

    return wanted, bars, shows


def test_the_placebos_show_the_notional_of_the_shaped_arm(thresholds):
    wanted, bars, shows = thresholds
    assert wanted > 0.5
    for arm in (0, 1):
        distance = abs(shows(arm, bars[arm]) - wanted)
        for other in np.linspace(0.02, 0.98, 9):
            assert distance <= abs(shows(arm, float(other)) - wanted) + 1e-6
        assert distance < 0.35 * wanted


def test_among_bars_that_show_the_same_the_middle_is_chosen(market):
    source = reward_model(1)
    blind = RewardModel(**{k: v * 0 for k, v in source.tensors().items() if k != "temperature"},
                        temperature=source.temperature)  # fmt: skip
    # It says one half of everything: every bar below shows all, every bar above nothing.
    for notional, bar in ((0.0, 0.5), (1e6, 0.46)):
        found = matching_thresholds(
            [policy(1)], [blind], notional, market, START, LENGTH, COSTS, GATE,
            decider=Constant(1.0),
        )  # fmt: skip
        assert found == pytest.approx([bar])


ROW = ArmFigures(0.6, 0.5, 2.0, 1.0, 0.2, 3.0, 0.1, 100)


def test_means_over_placebos():
    other = ArmFigures(0.8, 0.7, 4.0, 2.0, 0.4, 5.0, 0.3, 201)
    found = mean_figures([ROW, other])
    assert found == ArmFigures(
        pytest.approx(0.7), pytest.approx(0.6), 3.0, 1.5, pytest.approx(0.3), 4.0, 0.2, 150
    )


def test_a_mean_needs_approval_in_every_row():
    found = mean_figures([ROW, replace(ROW, approval=None)])
    assert found.approval is None
    assert found.approval_count == 0.5


def test_figures_are_json():
    assert ROW.to_json()["approval_count"] == 0.5
    assert set(ROW.to_json()) == set(ArmFigures.__dataclass_fields__)


@pytest.mark.parametrize(
    ("value", "placebo", "closed"),
    [
        (6.0, 4.0, 0.5 - 0.0),
        (6.0, 5.0, 0.5 - 0.25),
        # A placebo below the base is no credit.
        (6.0, 2.0, 0.5),
        (3.0, 4.0, -0.25),
        (9.0, 4.0, 1.25),
    ],
)
def test_the_gap_closed_is_net_of_the_placebo(value, placebo, closed):
    assert gap_closed(value, base=4.0, oracle=8.0, placebo=placebo) == pytest.approx(closed)


@pytest.mark.parametrize("oracle", [4.0, 3.0, math.nan, math.inf])
def test_without_a_gap_nothing_is_closed(oracle):
    assert gap_closed(5.0, base=4.0, oracle=oracle, placebo=4.0) is None


def test_a_gap_within_two_standard_errors_is_undefined():
    assert gap_closed(5.0, 4.0, 6.0, 4.0, gap_error=1.01) is None
    assert gap_closed(5.0, 4.0, 6.0, 4.0, gap_error=0.99) == pytest.approx(0.5)


def test_a_position_goes_on(market):
    """The end of a walk of arms is a position per arm."""
    arms = [Arm("base", policy(1), None, 0.5, None)] * 2
    end = walk_arms(arms, market, START, 5, COSTS, GATE).end
    assert isinstance(end, Position)
    assert end.held.shape == (2, 2, 5)
