"""The compiled loop of policy, desk and law equals the walk, decision by decision."""

from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.backtest.market_draws import draw
from trading_rlhf.accounting import CostModel
from trading_rlhf.agent import Policy, PolicyConfig, Walk, walk
from trading_rlhf.backtest import run_backtest
from trading_rlhf.backtest.gated import gated_backtest
from trading_rlhf.env import GateConfig, MarketTensors, advance
from trading_rlhf.env.dynamics import trade_session
from trading_rlhf.errors import AccountingError
from trading_rlhf.reward import ModelDesk, RewardModel
from trading_rlhf.types import Desk

F = 4
STATED = ("held", "target", "shown", "executed")


class Exact(Policy):
    """A policy in float64 that sees what a walk shows it in float32."""

    def encode(self, features):
        return super().encode(features.double())

    def decide(self, encoded, held, noise=None):
        return super().decide(encoded, held.double(), noise)


class Targets(Exact):
    """Given weights ``[S, T, N]``, bar after bar."""

    def __init__(self, weights, first):
        super().__init__(F, PolicyConfig(hidden=4), len(weights), torch.Generator())
        self.double()
        self.weights, self.t = weights, first

    def decide(self, encoded, held, noise=None):
        self.t += 1
        target = self.weights[:, self.t - 1].unsqueeze(1).expand(held.shape)
        return replace(super().decide(encoded, held), target=target)


def in_float64(desk: ModelDesk | None, members: int) -> Desk | None:
    """The desk as a walk asks it, without rounding to float32."""
    if desk is None:
        return None
    copies = members if desk.model.n_models < members else 1
    one = ModelDesk(RewardModel.stack([desk.model] * copies), desk.pessimism)
    return lambda features, held, target: one(features.double(), held.double(), target.double())


def reward_model(generator, models=1, members=3, hidden=5) -> RewardModel:
    def draws(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64) * 0.6

    inputs = 2 * F + 6
    return RewardModel(
        draws(models, members, inputs), draws(models, members),
        draws(models, members, inputs, hidden), draws(models, members, hidden),
        draws(models, members, hidden), draws(models).abs() + 0.5,
    )  # fmt: skip


@dataclass
class Case:
    """A market, policies and desks for it."""

    market: MarketTensors
    costs: CostModel
    policy: Exact
    generator: torch.Generator


def make_case(seed: int, strategies: int = 2, tilt: float = 3.0) -> Case:
    generator = torch.Generator().manual_seed(seed)
    made = draw(seed)
    features = torch.randn((*made.market.shape, F), generator=generator)
    policy = Exact(F, PolicyConfig(hidden=6, tilt=tilt), strategies, generator).double()
    return Case(replace(made.market, features=features), made.costs, policy, generator)


def check_equal(case: Case, gate: GateConfig, start, policy=None, **desks) -> torch.Tensor:
    """Compare every figure with the walk's; return how many trades were shown."""
    own = case.policy if policy is None else policy
    length = case.market.shape[0] - 1 - int(start.max())
    thresholds = desks.pop("thresholds", None)
    exact = {name: in_float64(desk, case.policy.members) for name, desk in desks.items()}
    walked = walk(
        case.policy, case.market, start, length, case.costs, gate, thresholds=thresholds, **exact
    )
    found = gated_backtest(
        case.market, own, case.costs, gate, start=start, thresholds=thresholds, keep_bars=True,
        max_gross=case.policy.config.max_gross, **desks,
    )  # fmt: skip
    assert found.engine == "numba loop on cpu"
    for name in STATED:
        got, expected = getattr(found.bars, name), getattr(walked, name)
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-10, equal_nan=True)
    growth = walked.log_growth.cumsum(0).exp().permute(1, 2, 0)
    torch.testing.assert_close(found.equity[..., 1:], growth, rtol=1e-10, atol=1e-10)
    asked = walked.shown & ~walked.approval.isnan()
    expected = torch.where(asked, walked.approval, torch.nan)
    torch.testing.assert_close(found.bars.approval, expected, rtol=0, atol=1e-7, equal_nan=True)
    size = torch.where(walked.shown, (walked.target - walked.held).abs(), 0.0).sum((0, -1))
    torch.testing.assert_close(found.notional, size, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.turnover, filled(case, walked))
    assert torch.equal(found.shown, walked.shown.sum((0, -1)))
    return found.shown


def filled(case: Case, walked: Walk) -> torch.Tensor:
    """Sums of absolute fills ``[S, B]`` of a walk."""
    sessions = [
        trade_session(case.market, t, held, case.costs, change=change)
        for t, held, change in zip(walked.t, walked.held, walked.executed, strict=True)
    ]
    return torch.stack([session.filled.abs().sum(-1) for session in sessions]).sum(0)


gates = st.builds(
    GateConfig,
    threshold=st.sampled_from([0.3, 0.5, 0.7]),
    cooldown=st.integers(0, 5),
    resize_steps=st.sampled_from([0, 3]),
    min_trade=st.sampled_from([0.0, 0.002, 0.03]),
)


@given(
    seed=st.integers(0, 10_000), gate=gates, strategies=st.integers(1, 3),
    filters=st.sampled_from([None, 0.0, 0.5]), decides=st.sampled_from([None, 0.0, 0.5]),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_the_loop_is_the_walk(seed, gate, strategies, filters, decides):
    case = make_case(seed, strategies)
    start = torch.tensor([0, case.market.shape[0] // 3])
    model, decider = (
        None if k is None else ModelDesk(reward_model(case.generator, members=1 + seed % 4), k)
        for k in (filters, decides)
    )
    check_equal(case, gate, start, model=model, decider=decider)


@given(seed=st.integers(0, 10_000), gate=gates)
@settings(max_examples=15, deadline=None)
def test_every_strategy_has_its_model_and_threshold(seed, gate):
    case = make_case(seed, strategies=3)
    model = ModelDesk(reward_model(case.generator, models=3))
    thresholds = torch.rand(3, generator=case.generator)
    check_equal(case, gate, torch.tensor([0]), model=model, thresholds=thresholds)


@given(seed=st.integers(0, 10_000), decides=st.booleans())
@settings(max_examples=15, deadline=None)
def test_given_weights_meet_the_desk_like_a_policy(seed, decides):
    case = make_case(seed)
    made = torch.as_tensor(draw(seed).targets)
    case.policy = Targets(made, 0)
    desk = ModelDesk(reward_model(case.generator))
    roles = {"model": desk} | ({"decider": desk} if decides else {})
    check_equal(case, GateConfig(cooldown=2), torch.tensor([0]), policy=made, **roles)


def test_given_weights_without_a_desk_are_a_backtest():
    made = draw(11)
    open_gate = GateConfig(min_trade=0.0)
    market = replace(made.market, fillable=made.market.fillable | True)
    found = gated_backtest(market, torch.as_tensor(made.targets), made.costs, open_gate)
    plain = run_backtest(
        made.bars, made.targets, made.costs, max_gross=0.98, market=market, engine="reference"
    )
    torch.testing.assert_close(
        found.equity[:, 0], torch.as_tensor(plain.equity), rtol=0, atol=1e-10
    )
    table, expected = found.measures(made.bars.bars_per_year), plain.measures
    for name in ("sharpe", "max_drawdown", "annual_return", "turnover"):
        assert table[name].to_numpy() == pytest.approx(expected[name].to_numpy(), abs=1e-9)


def refusing(p: float) -> ModelDesk:
    """A desk that gives every trade the same probability."""
    zero = reward_model(torch.Generator().manual_seed(0), members=2)
    blank = {name: torch.zeros_like(value) for name, value in zero.tensors().items()}
    blank["line_bias"] += torch.tensor(p).logit()
    return ModelDesk(RewardModel(**blank | {"temperature": torch.ones(1)}))


def long_case() -> Case:
    case = make_case(7, strategies=1)
    assert case.market.shape[0] > 20
    return replace(case, market=replace(case.market, fillable=case.market.fillable | True))


def test_refusals_are_remembered_for_as_long_as_the_gate_says():
    case = long_case()
    weights = torch.full((1, *case.market.shape), 0.1, dtype=torch.float64)
    for rest in (0, 1, 3):
        found = gated_backtest(
            case.market, weights, case.costs, GateConfig(cooldown=rest), decider=refusing(0.4),
            keep_bars=True,
        )  # fmt: skip
        shown = found.bars.shown[:, 0, 0, 0].tolist()
        assert shown == [k % (rest + 1) == 0 for k in range(len(shown))]
        assert not found.turnover.any()


def test_what_passes_in_part_is_remembered_as_refused():
    case = long_case()
    weights = torch.full((1, *case.market.shape), 0.1, dtype=torch.float64)
    case.policy = Targets(weights, 0)
    desk = refusing(0.73)
    # One half is reached at the whole size, so two thirds of it pass.
    desk.model.line_weight[..., 2 * F + 4] = -desk.model.line_bias / (0.1 * case.market.shape[1])
    gate = GateConfig(cooldown=2, resize_steps=3)
    check_equal(case, gate, torch.tensor([0]), policy=weights, decider=desk)
    found = gated_backtest(
        case.market, weights, case.costs, gate, decider=desk, keep_bars=True
    ).bars
    assert found.shown[:4, 0, 0, 0].tolist() == [True, False, False, True]
    assert float(found.executed[0, 0, 0, 0]) == pytest.approx(0.2 / 3)


def test_what_the_filter_hides_is_not_remembered_as_refused():
    case = long_case()
    weights = torch.full((1, *case.market.shape), 0.1, dtype=torch.float64)
    gate = GateConfig(cooldown=3)
    found = gated_backtest(case.market, weights, case.costs, gate, model=refusing(0.4))
    assert found.shown.sum() == 0
    found = gated_backtest(case.market, weights, case.costs, gate, model=refusing(0.6))
    assert found.shown.sum() > 0


def test_one_half_is_not_approved():
    case = long_case()
    found = gated_backtest(
        case.market, case.policy, case.costs, GateConfig(), decider=refusing(0.5)
    )
    assert found.shown.sum() > 0
    assert found.turnover.sum() == 0


def test_disagreement_makes_the_pessimistic_desk_refuse():
    case = make_case(7, strategies=1)
    model = reward_model(case.generator, members=4)
    start = torch.tensor([0])
    easy, strict = (
        check_equal(case, GateConfig(), start, model=ModelDesk(model, k)).sum() for k in (0.0, 2.0)
    )
    assert strict < easy


def test_in_float32_money_follows_the_law_of_what_was_executed():
    case = make_case(21, strategies=40)
    policy = Policy(F, PolicyConfig(hidden=7, tilt=3.0), 40, case.generator)
    model = reward_model(case.generator)
    single = RewardModel(**{name: value.float() for name, value in model.tensors().items()})
    gate, length = GateConfig(), case.market.shape[0] - 1
    found = gated_backtest(
        case.market, policy, case.costs, gate, model=ModelDesk(single), keep_bars=True
    )
    held, equity = found.bars.held[0], torch.ones_like(found.equity[..., 0])
    for t in range(length):
        torch.testing.assert_close(held, found.bars.held[t], rtol=0, atol=1e-10)
        executed = found.bars.executed[t]
        held, growth = advance(case.market, torch.tensor([t]), held, executed, case.costs)
        equity = equity * growth
        torch.testing.assert_close(equity, found.equity[..., t + 1], rtol=0, atol=1e-10)
    walked = walk(
        policy, case.market, torch.tensor([0]), length, case.costs, gate,
        model=ModelDesk(RewardModel.stack([single] * 40)),
    )  # fmt: skip
    assert float((walked.shown != found.bars.shown).double().mean()) < 1e-3
    assert float((walked.target - found.bars.target).abs().median()) < 1e-6


def test_other_rules_go_through_the_walk():
    case = make_case(3)
    gate = GateConfig(delay=2)
    desk = in_float64(ModelDesk(reward_model(case.generator)), case.policy.members)
    slow = gated_backtest(case.market, case.policy, case.costs, gate, decider=desk, keep_bars=True)
    length = case.market.shape[0] - 1
    walked = walk(
        case.policy, case.market, torch.tensor([0]), length, case.costs, gate, decider=desk
    )
    assert slow.engine == "torch walk on cpu"
    torch.testing.assert_close(slow.equity[..., -1], walked.log_growth.sum(0).exp())
    assert torch.equal(slow.bars.executed, walked.executed)


def test_what_does_not_fit_is_refused():
    case = make_case(3)
    weights = torch.zeros((1, *case.market.shape))
    other = Policy(F + 1, PolicyConfig(), 1, torch.Generator())
    three = ModelDesk(reward_model(case.generator, models=3))
    for policy, more, said in [
        (weights[:, 1:], {}, "shape"),
        (other, {}, "features"),
        (case.policy, {"model": three}, "one for each of 2"),
        (case.policy, {"length": case.market.shape[0]}, "decisions must lie"),
        (weights, {"decider": lambda *_: weights}, "Pass a policy"),
    ]:
        with pytest.raises(AccountingError, match=said):
            gated_backtest(case.market, policy, case.costs, GateConfig(), **more)
