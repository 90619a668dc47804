"""Challenges: what each changes, what it leaves true, and that nothing is seen too early."""

from dataclasses import fields

import numpy as np
import pytest
import torch

from tests.laws.random_bars import random_bars
from trading_rlhf.accounting import CostModel
from trading_rlhf.agent import Policy, PolicyConfig, walk
from trading_rlhf.env import (
    CHALLENGES,
    LEVELS,
    GateConfig,
    MarketTensors,
    Setup,
    challenge,
    challenge_env,
    cut_market,
    join_markets,
    make_setup,
)
from trading_rlhf.env.world_changes import RegimeShift
from trading_rlhf.errors import ConfigError, DataError
from trading_rlhf.market import Bars, compute_features, perturb_after

NAMES = ("trend_60", "reversal_5", "volatility_20", "volume_20", "range_20")
START, N_BARS = 90, 190
COSTS = CostModel()
OBSERVED = (
    "observation_delay", "observation_noise", "dropped_bars", "stuck_bars", "irrelevant_features",
)  # fmt: skip
EVERY = [(name, level) for name in CHALLENGES for level in LEVELS]


def compute(bars: Bars) -> np.ndarray:
    return compute_features(bars, NAMES)


def setup_on(bars: Bars) -> Setup:
    span = range(10, START), range(START, bars.shape[0])
    return make_setup(bars, compute, COSTS, GateConfig(), *span)


def under(name: str, level: str, setup: Setup, seed: int = 3) -> Setup:
    return challenge(name, level).apply(setup, np.random.default_rng(seed))


@pytest.fixture(scope="module")
def bars() -> Bars:
    return random_bars(4, N_BARS, holes=True)


@pytest.fixture(scope="module")
def setup(bars: Bars) -> Setup:
    return setup_on(bars)


def money(market: MarketTensors) -> dict[str, torch.Tensor]:
    return {name: getattr(market, name) for name in ("overnight", "intraday", "days", "delisted")}


def test_there_are_the_eleven_challenges_at_three_levels() -> None:
    assert set(CHALLENGES) == {
        "action_delay", "observation_delay", "observation_noise", "dropped_bars", "stuck_bars",
        "drifting_costs", "regime_shift", "constraints", "reward_weights", "irrelevant_features",
        "limited_history",
    }  # fmt: skip
    assert all(tuple(levels) == LEVELS for levels in CHALLENGES.values())
    for name, levels in CHALLENGES.items():
        assert {made.name for made in levels.values()} == {name}
        assert len({made.describe() for made in levels.values()}) == 3


@pytest.mark.parametrize(
    ("name", "level", "words"),
    [("earthquake", "hard", "earthquake"), ("stuck_bars", "brutal", "brutal")],
)
def test_unknown_names_are_refused(name: str, level: str, words: str) -> None:
    with pytest.raises(ConfigError, match=f"must be one of .*got {words}"):
        challenge(name, level)


@pytest.mark.parametrize(("name", "level"), EVERY)
def test_a_challenge_changes_something_and_nothing_before_the_test(
    setup: Setup, name: str, level: str
) -> None:
    before = {item.name: getattr(setup.market, item.name) for item in fields(setup.market)}
    changed = under(name, level, setup)
    assert changed is not setup
    assert {item.name: getattr(setup.market, item.name) for item in fields(setup.market)} == before
    old, new = setup.market, changed.market
    assert torch.equal(new.features[:START, :, : len(NAMES)], old.features[:START])
    for tensor in ("overnight", "intraday", "fillable", "days"):
        assert torch.equal(getattr(new, tensor)[:START], getattr(old, tensor)[:START])
    differs = [
        item.name
        for item in fields(setup)
        if item.name != "market" and getattr(changed, item.name) != getattr(setup, item.name)
    ]
    differs += [
        item.name
        for item in fields(old)
        if not _same(getattr(new, item.name), getattr(old, item.name))
    ]
    assert differs


def _same(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.shape == other.shape and torch.equal(one, other)
    return one is other


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", OBSERVED)
def test_faults_of_what_is_seen_leave_money_true(setup: Setup, name: str, level: str) -> None:
    changed = under(name, level, setup)
    for key, tensor in money(setup.market).items():
        assert torch.equal(getattr(changed.market, key), tensor), key
    assert changed.bars is setup.bars
    assert changed.costs == setup.costs
    # A fault never lets an order fill that could not.
    assert not (changed.market.fillable & ~setup.market.fillable).any()


@pytest.mark.parametrize("name", [*OBSERVED, "regime_shift", "drifting_costs"])
def test_nothing_is_seen_before_it_is_known(bars: Bars, setup: Setup, name: str) -> None:
    seen = under(name, "hard", setup).market
    for cut in (START + 3, START + 41, N_BARS - 8):
        other = perturb_after(bars, cut, np.random.default_rng(cut))
        again = under(name, "hard", setup_on(other)).market
        known = slice(0, cut + 1)
        assert torch.equal(again.features[known], seen.features[known])
        assert torch.equal(again.fillable[known], seen.fillable[known])
        assert torch.equal(again.overnight[known], seen.overnight[known])
        assert not torch.equal(again.overnight[cut + 1 :], seen.overnight[cut + 1 :])


@pytest.mark.parametrize(("level", "late"), [("easy", 1), ("medium", 3), ("hard", 6)])
def test_late_data_is_that_of_earlier_bars(setup: Setup, level: str, late: int) -> None:
    seen = under("observation_delay", level, setup).market.features
    assert torch.equal(seen[START:], setup.market.features[START - late : -late])


def test_noise_grows_with_its_level_and_repeats_with_its_seed(setup: Setup) -> None:
    true = setup.market.features[START:]
    errors = [
        (under("observation_noise", level, setup).market.features[START:] - true).std()
        for level in LEVELS
    ]
    assert 0 < errors[0] < errors[1] < errors[2]
    one, again, other = (under("observation_noise", "hard", setup, s) for s in (1, 1, 2))
    assert torch.equal(one.market.features, again.market.features)
    assert not torch.equal(one.market.features, other.market.features)


def test_missing_bars_come_in_gaps_in_which_nothing_fills() -> None:
    full = setup_on(random_bars(6, 3000))
    changed = under("dropped_bars", "medium", full, seed=1)
    gone = ~changed.market.fillable[START:]
    # A gap of 5 bars begins at 5% of the bars, so 1 - 0.95**5 of them are missing.
    assert float(gone.double().mean()) == pytest.approx(1 - 0.95**5, abs=0.02)
    assert not changed.market.features[START:][gone].any()
    runs = np.diff(np.flatnonzero(np.diff(gone[:, 0].numpy().astype(int), prepend=0, append=0)))
    assert runs[::2].min() == 5


def test_stuck_prices_repeat_the_last_bar_and_nothing_fills() -> None:
    full = setup_on(random_bars(6, 400))
    changed = under("stuck_bars", "medium", full)
    stuck = ~changed.market.fillable[:, 0].numpy()
    first = int(np.flatnonzero(stuck)[0])
    closes = np.array(full.bars.close)
    closes[first : first + 5, 0] = closes[first - 1, 0]
    reversal = compute_features(_with_close(full.bars, closes), ("reversal_5",))
    seen = changed.market.features[first : first + 5, 0, NAMES.index("reversal_5")]
    np.testing.assert_array_equal(seen.numpy(), reversal[first : first + 5, 0, 0])


def _with_close(bars: Bars, close: np.ndarray) -> Bars:
    return Bars(bars.dates, bars.symbols, None, None, None, close, None)


def test_an_asset_without_a_price_has_none_while_its_feed_sticks(bars: Bars, setup: Setup) -> None:
    changed = under("stuck_bars", "hard", setup)
    assert changed.market.features.isfinite().all()
    fresh = changed.market.fillable.numpy()
    assert not (fresh & ~bars.fillable).any()


def test_costs_rise_to_their_multiple_and_nothing_else_moves(setup: Setup) -> None:
    changed = under("drifting_costs", "medium", setup)
    scale = changed.market.cost_scale
    assert scale is not None
    assert (scale[: START + 1] == 1.0).all()
    assert float(scale[-1]) == pytest.approx(4.0)
    assert (scale[START:].diff() > 0).all()
    for key, tensor in money(setup.market).items():
        assert torch.equal(getattr(changed.market, key), tensor), key


def test_costs_that_drift_already_drift_on(setup: Setup) -> None:
    twice = under("drifting_costs", "easy", under("drifting_costs", "medium", setup))
    assert twice.market.cost_scale is not None
    assert float(twice.market.cost_scale[-1]) == pytest.approx(8.0)


def test_rising_costs_cost() -> None:
    calm = setup_on(random_bars(8, N_BARS))
    env = [_growth_of_churning(under("drifting_costs", level, calm).market) for level in LEVELS]
    assert _growth_of_churning(calm.market) > env[0] > env[1] > env[2]


def _growth_of_churning(market: MarketTensors) -> float:
    from trading_rlhf.env import advance

    held, total = torch.zeros(1, 3, dtype=torch.float64), 1.0
    for t in range(START, N_BARS - 1):
        target = torch.full_like(held, 0.3 * (t % 2))
        held, growth = advance(market, torch.tensor([t]), held, target - held, COSTS)
        total *= float(growth)
    return total


def test_a_regime_scales_volatility_drift_and_persistence() -> None:
    long = random_bars(12, 6000, 2)
    shift = RegimeShift(volatility=2.0, drift=-3.0, persistence=-0.3)
    span = range(1, 3000), range(3000, 6000)
    setup = make_setup(long, compute_none, COSTS, GateConfig(), *span)
    changed = shift.apply(setup, np.random.default_rng(0)).bars
    assert np.array_equal(changed.close[:4000], long.close[:4000])
    old, new = (np.diff(np.log(b.close), axis=0)[4000:] for b in (long, changed))
    mean = np.diff(np.log(long.close), axis=0)[:3999].mean(0)
    np.testing.assert_allclose(new.std(0), 2.0 * old.std(0), rtol=0.05)
    carried = 2.0 * np.sqrt(1 - 0.09) / 1.3 * (old.mean(0) - mean) - 3.0 * mean
    np.testing.assert_allclose(new.mean(0), carried, atol=2e-4)
    for column in range(2):
        was, now = (np.corrcoef(r[1:, column], r[:-1, column])[0, 1] for r in (old, new))
        assert now - was == pytest.approx(-0.3, abs=0.05)


def compute_none(bars: Bars) -> np.ndarray:
    return np.zeros((*bars.shape, 1), dtype=np.float32)


def test_a_regime_without_change_is_none(bars: Bars, setup: Setup) -> None:
    same = RegimeShift(1.0, 1.0, 0.0).apply(setup, np.random.default_rng(0))
    np.testing.assert_allclose(same.bars.close, bars.close, rtol=1e-12)
    np.testing.assert_allclose(same.bars.raw_close, bars.raw_close, rtol=1e-12)
    np.testing.assert_array_equal(same.bars.tradable, bars.tradable)


def test_less_history_is_the_latest_and_enough_to_train_on(setup: Setup) -> None:
    long = make_setup(setup.bars, compute, COSTS, GateConfig(), range(150), range(150, N_BARS))
    kept = [under("limited_history", level, long).train_bars for level in LEVELS]
    assert kept == [range(75, 150), range(90, 150), range(90, 150)]


def test_irrelevant_features_stand_after_the_others(setup: Setup) -> None:
    seen = under("irrelevant_features", "easy", setup).market.features
    assert seen.shape == (N_BARS, 3, len(NAMES) + 10)
    assert torch.equal(seen[..., : len(NAMES)], setup.market.features)
    assert float(seen[..., len(NAMES) :].std()) == pytest.approx(1.0, abs=0.05)


def test_a_joined_walk_is_the_single_walks(setup: Setup) -> None:
    policy = Policy(len(NAMES), PolicyConfig(), 2, torch.Generator().manual_seed(1))
    setups = [under("observation_noise", "hard", setup, seed) for seed in (1, 2, 3)]
    length = len(setup.test_bars)
    cuts = [cut_market(one.market, one.test_bars) for one in setups]
    common = (length - 1, COSTS, setup.gate)
    joined = walk(policy, join_markets(cuts), torch.arange(3) * length, *common)
    for draw, one in enumerate(setups):
        alone = walk(policy, one.market, torch.tensor([START]), *common)
        torch.testing.assert_close(joined.log_growth[:, :, draw], alone.log_growth[:, :, 0])


def test_too_few_bars_are_refused_in_one_sentence(bars: Bars) -> None:
    with pytest.raises(DataError, match="a challenge needs three bars or more"):
        make_setup(bars, compute, COSTS, GateConfig(), range(10), range(N_BARS - 2, N_BARS))


@pytest.mark.parametrize("name", CHALLENGES)
def test_environments_run_under_every_challenge(bars: Bars, name: str) -> None:
    env = challenge_env(
        bars,
        COSTS,
        challenge(name, "hard"),
        np.random.default_rng(2),
        num_envs=3,
        compute=compute,
        first_bar=START,
        episode_length=5,
    )
    obs, info = env.reset(seed=1)
    assert (info["t"] >= START).all()
    env.action_space.seed(1)
    for step in range(1, 13):
        assert tuple(obs.shape) == env.observation_space.shape
        obs, reward, terminated, truncated, info = env.step(env.action_space.sample())
        assert obs.isfinite().all()
        assert reward.isfinite().all()
        assert not terminated.any()
        assert truncated.tolist() == [step % 6 == 5] * 3
    if name == "constraints":
        assert info["violations"].shape == (3, 3)


def test_an_environment_shows_the_fault_and_counts_true_money(bars: Bars, setup: Setup) -> None:
    changed = under("stuck_bars", "hard", setup, seed=2).market
    stuck = challenge("stuck_bars", "hard")
    env = challenge_env(
        bars, COSTS, stuck, np.random.default_rng(2), compute=compute, first_bar=START,
        episode_length=50,
    )  # fmt: skip
    assert torch.equal(env.market.fillable, changed.fillable)
    obs, _ = env.reset(options={"start": START + 20})
    width, seen_blocked = 3 * len(NAMES), 0
    for t in range(START + 20, START + 60):
        assert torch.equal(obs[0, :width], changed.features[t].flatten())
        held = env.accounts.held.clone()
        obs, reward, *_ = env.step(np.full((1, 3), 0.3))
        blocked = ~changed.fillable[t + 1]
        moved = (1 + setup.market.overnight[t + 1]) * (1 + setup.market.intraday[t + 1])
        if blocked.all():
            seen_blocked += 1
            assert float(reward.exp()) == pytest.approx(1 + float((held * (moved - 1)).sum()))
    assert seen_blocked > 0
