"""The review inside the environment: how long it takes, what it remembers, what it lets through."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.laws.random_bars import random_bars
from trading_rlhf.accounting import CostModel
from trading_rlhf.backtest import run_backtest
from trading_rlhf.env import GateConfig, VectorMarketEnv, draw_answers
from trading_rlhf.errors import ConfigError

COSTS = CostModel(commission_bps=5.0)
FREE = CostModel(commission_bps=0, half_spread_bps=0, slippage_bps=0)


class Desk:
    """Given probabilities per asset, whatever is proposed."""

    def __init__(self, *p: float) -> None:
        self.p = torch.tensor(p)

    def __call__(self, features, held, target):
        return self.p.expand(held.shape)


class LikesSmall(Desk):
    """Approves changes up to a size."""

    def __call__(self, features, held, target):
        return ((target - held).abs() <= self.p + 1e-9).float()


def make(bars, num_envs=1, costs=COSTS, **settings) -> VectorMarketEnv:
    empty = np.zeros((*bars.shape, 1), dtype=np.float32)
    env = VectorMarketEnv(bars, costs, num_envs, features=empty, long_only=False, **settings)
    env.reset(seed=1, options={"start": 0})
    return env


def run(env: VectorMarketEnv, targets: np.ndarray) -> list[dict]:
    return [env.step(target)[-1] for target in targets]


def targets_of(seed: int, n_bars: int, num_envs: int, n_assets: int = 3) -> np.ndarray:
    """Targets ``[T - 1, B, N]`` that stay for a while, with some NaN."""
    generator = np.random.default_rng(seed)
    targets = generator.uniform(-0.3, 0.5, (n_bars - 1, num_envs, n_assets))
    targets[generator.random(targets.shape) < 0.5] = np.nan
    return targets


@pytest.mark.parametrize("soft", [False, True])
def test_a_desk_that_approves_everything_at_once_is_no_desk(soft):
    """Bit for bit, whatever the smallest trade or the cool-down would do to refused ones."""
    bars = random_bars(3)
    # The smooth gate is one at infinite steepness.
    gate = GateConfig(min_trade=0.0, slope=1e6)
    plain, desk = make(bars, 5), make(bars, 5, desk=Desk(1.0), gate=gate, soft_gate=soft)
    for target in targets_of(1, 40, 5):
        obs, reward, *_, info = plain.step(target)
        own, own_reward, *_, own_info = desk.step(target)
        assert own.numpy().tobytes() == obs.numpy().tobytes()
        assert own_reward.numpy().tobytes() == reward.numpy().tobytes()
        assert own_info["equity"].numpy().tobytes() == info["equity"].numpy().tobytes()
        assert torch.equal(own_info["executed"], info["executed"])


@given(seed=st.integers(0, 10_000), cooldown=st.integers(0, 4), steps=st.integers(0, 3))
@settings(max_examples=15, deadline=None)
def test_orders_that_wait_no_bar_are_the_orders_of_today(seed, cooldown, steps):
    """The path that knows of waiting orders equals the one that does not, bit for bit."""

    class Waiting(GateConfig):
        @property
        def immediate(self) -> bool:
            return False

    def moods(features, held, target):
        return (31.7 * target + 17.3 * held).sin() * 0.5 + 0.5

    rules = {"cooldown": cooldown, "resize_steps": steps, "min_trade": 0.01}
    bars = random_bars(seed, holes=True)
    one = make(bars, 3, desk=moods, gate=GateConfig(**rules))
    other = make(bars, 3, desk=moods, gate=Waiting(**rules))
    for target in targets_of(seed, 40, 3):
        info, other_info = one.step(target)[-1], other.step(target)[-1]
        assert torch.equal(other_info["executed"], info["executed"])
        assert torch.equal(other_info["equity"], info["equity"])
        assert torch.equal(other.accounts.cooldown, one.accounts.cooldown)
        assert not other.accounts.orders.pending.any()


@pytest.mark.parametrize("delay", [1, 2, 5])
@pytest.mark.parametrize("holes", [False, True])
def test_equity_under_a_delay_is_that_of_the_backtest(delay, holes):
    bars = random_bars(7, holes=holes)
    targets = targets_of(delay, 40, 2)
    infos = run(make(bars, 2, gate=GateConfig(delay=delay)), targets)
    padded = np.concatenate([targets, np.full((1, 2, 3), np.nan)]).transpose(1, 0, 2)
    result = run_backtest(bars, padded, COSTS, delay=delay)
    equity = np.stack([info["equity"].numpy() for info in infos], 1)
    np.testing.assert_allclose(equity, result.equity[:, 1:], rtol=1e-12)
    assert (np.ptp(equity, axis=1) > 0).all()


def test_nothing_is_ordered_before_an_asset_is_listed():
    """Wishes for an asset without a price do not wait for its first one."""
    bars = random_bars(7)
    tradable = np.ones(bars.shape, dtype=bool)
    tradable[:12, 2] = False
    names = ("open", "high", "low", "close", "volume")
    columns = [np.where(tradable, getattr(bars, name), np.nan) for name in names]
    late = type(bars)(bars.dates, bars.symbols, *columns, tradable=tradable)
    targets = targets_of(3, 40, 2)
    infos = run(make(late, 2, gate=GateConfig(delay=3)), targets)
    assert not any(info["executed"][:, 2].any() for info in infos[:15])
    padded = np.concatenate([targets, np.full((1, 2, 3), np.nan)]).transpose(1, 0, 2)
    equity = np.stack([info["equity"].numpy() for info in infos], 1)
    expected = run_backtest(late, padded, COSTS, delay=3).equity[:, 1:]
    np.testing.assert_allclose(equity, expected, rtol=1e-12)


def test_an_order_decided_at_t_fills_at_the_open_of_t_plus_one_plus_delay():
    bars = random_bars(5, 12)
    env = make(bars, costs=FREE, gate=GateConfig(delay=3))
    targets = np.full((11, 1, 3), np.nan)
    targets[2, 0, 1] = 0.4
    infos = run(env, targets)
    ordered = [t for t, info in enumerate(infos) if info["executed"].any()]
    assert ordered == [5]
    # The number of shares is the one sized at the close of bar 2, when equity was 1.
    shares = 0.4 / bars.close[2, 1]
    expected = [1.0] * 6 + [1 + shares * (close - bars.open[6, 1]) for close in bars.close[6:, 1]]
    equity = [1.0] + [float(info["equity"]) for info in infos]
    assert equity == pytest.approx(expected, rel=1e-12)


def test_what_does_not_fill_expires():
    bars = random_bars(5, 12)
    tradable = np.ones(bars.shape, dtype=bool)
    tradable[6, 1] = False
    gap = type(bars)(
        bars.dates, bars.symbols, *(np.where(tradable, getattr(bars, name), np.nan)
        for name in ("open", "high", "low", "close", "volume")), tradable=tradable,
    )  # fmt: skip
    targets = np.full((11, 1, 3), np.nan)
    targets[2, 0, 1] = 0.4
    env = make(gap, gate=GateConfig(delay=3))
    infos = run(env, targets)
    assert infos[5]["executed"].any()
    assert float(infos[-1]["equity"]) == 1.0
    assert not env.accounts.orders.pending.any()


def test_the_waiting_order_and_its_wait_are_observed():
    bars = random_bars(5, 12)
    for kind in ("full", "handle"):
        env = make(bars, gate=GateConfig(delay=2), observation=kind)
        obs, *_ = env.step(np.array([[0.3, np.nan, np.nan]]))
        if kind == "handle":
            assert obs["wait"].tolist() == [[1.0, 0.0, 0.0]]
            pending = float(obs["pending"][0, 0])
            assert (obs["pending"] != 0).tolist() == [[True, False, False]]
            obs = env.gather(obs)
        # One feature each, held, cool-down, pending, wait as a fraction of the delay, cash.
        assert obs.shape == (1, 3 + 12 + 1)
        assert obs[0, 3:9].tolist() == [0.0] * 6
        assert obs[0, 12:].tolist() == [0.5, 0.0, 0.0, 1.0]
        assert float(obs[0, 9]) == pytest.approx(0.3 * bars.close[1, 0] / bars.close[0, 0])
    assert pending == pytest.approx(float(obs[0, 9]))


def test_a_refusal_takes_as_long_as_an_approval_and_then_the_side_rests():
    bars = random_bars(3, 12)
    gate = GateConfig(delay=2, cooldown=3)
    env = make(bars, desk=Desk(1.0, 0.0, 1.0), gate=gate)
    resting, orders = [], []
    for _ in range(9):
        info = env.step(np.array([[0.2, 0.2, np.nan]]))[-1]
        resting.append(float(env.accounts.cooldown[0, 1]))
        orders.append(float(env.accounts.orders.pending[0, 1]) != 0)
        assert float(info["executed"][0, 1]) == 0.0
    # Decided at 0, answered at 2, at rest at the closes 3 to 5, decided again at 6.
    assert resting == [0, 0, 3, 2, 1, 0, 0, 0, 3]
    assert orders == [True, True, False, False, False, False, True, True, False]


def test_the_desk_answers_what_it_was_asked_and_not_what_it_thinks_later():
    bars = random_bars(3, 12)
    env = make(bars, desk=(desk := Desk(1.0, 0.0, 0.0)), gate=GateConfig(delay=2))
    buy = np.array([[0.2, 0.2, np.nan]])
    env.step(buy)
    desk.p = torch.tensor([0.0, 1.0, 1.0])
    env.step(buy)
    *_, info = env.step(buy)
    executed = info["executed"][0].tolist()
    assert executed == pytest.approx([0.2, 0.0, 0.0], abs=0.02)
    assert executed[0] > 0


def test_an_order_that_nobody_answers_lapses_without_a_refusal():
    bars = random_bars(3, 30)
    env = make(bars, desk=Desk(1.0), gate=GateConfig(answer_rate=1e-9, expiry=4, cooldown=3))
    waits = []
    for _ in range(11):
        *_, info = env.step(np.array([[0.2, np.nan, np.nan]]))
        assert not info["executed"].any()
        waits.append(float(env.accounts.orders.wait[0, 0]))
    assert waits == [-1, -2, -3, -4, 0, -1, -2, -3, -4, 0, -1]
    assert not env.accounts.cooldown.any()


def test_answers_come_at_the_stated_rate():
    bars = random_bars(3, 12)
    env = make(bars, 500, gate=GateConfig(delay=1, answer_rate=0.3))
    buy = np.full((500, 3), 0.1)
    infos = run(env, np.stack([buy] * 4))
    came = [float((info["executed"] > 0.05).float().mean()) for info in infos]
    assert came[0] == 0.0
    expected = [0.3, 0.3 * 0.7, 0.3 * 0.7**2]
    assert came[1:] == pytest.approx(expected, abs=4 * math.sqrt(0.25 / 1500))
    # The same seed is the same desk.
    again = make(bars, 500, gate=GateConfig(delay=1, answer_rate=0.3))
    for info, other in zip(infos, run(again, np.stack([buy] * 4)), strict=True):
        assert torch.equal(info["executed"], other["executed"])


def test_a_resize_executes_the_largest_part_that_is_approved_and_the_rest_is_refused():
    bars = random_bars(3, 12, volatility=1e-9)
    desk = LikesSmall(0.2, 0.1, 0.05)
    buy = np.array([[0.2, 0.2, 0.2]])
    for delay in (0, 1):
        gate = GateConfig(delay=delay, resize_steps=4, cooldown=2)
        env = make(bars, desk=desk, gate=gate, costs=FREE)
        infos = run(env, np.stack([buy] * (delay + 2)))
        assert infos[delay]["executed"][0].tolist() == pytest.approx([0.2, 0.1, 0.05], abs=1e-6)
        # What was cut off rests like a refusal, or the whole would leak through in pieces.
        assert not infos[delay + 1]["executed"].any()
        assert (env.accounts.cooldown != 0)[0].tolist() == [False, True, True]
    nothing = make(bars, desk=LikesSmall(0.04), gate=GateConfig(resize_steps=4))
    assert not nothing.step(buy)[-1]["executed"].any()


def test_purchases_wait_for_the_cash_of_sales_that_pass_with_them():
    bars = random_bars(3, 12, volatility=1e-9)
    env = make(bars, costs=FREE, desk=(desk := Desk(1.0, 1.0, 1.0)), gate=GateConfig(delay=1))
    env.step(np.array([[0.9, 0.0, 0.0]]))
    run(env, np.full((2, 1, 3), np.nan))
    env.step(np.array([[0.0, 0.9, 0.0]]))
    *_, info = env.step(np.full((1, 3), np.nan))
    assert info["executed"][0].tolist() == pytest.approx([-0.9, 0.9, 0.0], abs=1e-6)
    desk.p = torch.tensor([1.0, 0.0, 1.0])
    env.step(np.array([[0.9, 0.0, 0.0]]))
    *_, info = env.step(np.full((1, 3), np.nan))
    assert info["executed"][0].tolist() == pytest.approx([0.08, 0.0, 0.0], abs=1e-6)


def test_the_smooth_gate_executes_a_share_and_remembers_refusals():
    bars = random_bars(3, 12)
    env = make(bars, desk=Desk(0.5, 0.6, 0.1), soft_gate=True, gate=GateConfig(cooldown=5))
    *_, info = env.step(np.full((1, 3), 0.2))
    share = 1 / (1 + np.exp(-12 * (np.array([0.5, 0.6, 0.1]) - 0.5)))
    assert info["executed"][0].tolist() == pytest.approx((0.2 * share).tolist(), rel=1e-6)
    assert env.accounts.cooldown[0].tolist() == [5, 0, 5]


def test_an_asset_without_a_price_now_is_not_put_to_the_desk():
    bars = random_bars(11, holes=True)
    dark = ~bars.fillable
    dark[0] = False
    t, asset = np.argwhere(dark)[0]
    env = make(bars, desk=Desk(1.0), episode_length=1)
    env.reset(options={"start": int(t)})
    *_, info = env.step(np.full((1, 3), 0.2))
    assert not info["executed"][0, asset]
    plain = make(bars, episode_length=1)
    plain.reset(options={"start": int(t)})
    assert plain.step(np.full((1, 3), 0.2))[-1]["executed"].all()


@pytest.mark.parametrize("bad", [{"answer_rate": 0.0}, {"delay": -1}, {"delay": 9, "expiry": 8}])
def test_a_review_that_never_ends_is_refused(bad):
    with pytest.raises(ValueError, match=r"answer_rate|delay"):
        GateConfig(**bad)


def test_chance_needs_a_generator():
    with pytest.raises(ConfigError, match=r"needs a random generator; got answer_rate=0\.5"):
        draw_answers(GateConfig(answer_rate=0.5), torch.Size([1]), None)
