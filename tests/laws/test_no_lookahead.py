"""The canary: whatever happens after t, nothing observed, decided, scored or shown up to t changes.

Everything is computed twice, on the bars and on bars that differ in every price, volume, split,
dividend and gap after t, the next open included, and compared bit by bit.
"""

from dataclasses import asdict
from datetime import UTC, datetime

import numpy as np
import pytest
import torch

from tests.agent.architectures import ARCHITECTURES
from trading_rlhf.accounting import CostModel
from trading_rlhf.agent import (
    Policy,
    PolicyConfig,
    ProfitReward,
    TrainConfig,
    start_training,
    train,
    walk,
)
from trading_rlhf.agent import policy as policy_module
from trading_rlhf.agent import rollout as rollout_module
from trading_rlhf.backtest import run_backtest
from trading_rlhf.env import GateConfig, MarketTensors, VectorMarketEnv
from trading_rlhf.env import reviewing as review_module
from trading_rlhf.feedback.queue import Candidate, choose
from trading_rlhf.feedback.simulated import StyleDesk
from trading_rlhf.market import (
    OHLCV_FEATURES,
    Bars,
    Feature,
    FeatureRegistry,
    compute_features,
    default_registry,
    load_sample,
    perturb_after,
    warmup,
)
from trading_rlhf.proposals import Book, Proposal, ProposalMaker, TradeTensors
from trading_rlhf.reward import ModelDesk, RewardModel

COSTS, GATE = CostModel(), GateConfig(cooldown=2)
FIRST = warmup(OHLCV_FEATURES)
LAST = FIRST + 30
"""The bar t; ten bars follow."""
PLAIN = PolicyConfig(hidden=8)


@pytest.fixture(scope="module")
def bars() -> Bars:
    # AAPL's split of 2005-02-28 lies before t.
    us4 = load_sample("us4")
    start = us4.dates.searchsorted("2004-10-01")
    return us4.window(start, start + LAST + 11)


@pytest.fixture(scope="module")
def other_futures(bars: Bars) -> list[Bars]:
    """The same bars up to t with other prices after it, and with no bar at all at t+1."""
    changed = perturb_after(bars, LAST, np.random.default_rng(3))
    tradable = changed.tradable.copy()
    tradable[LAST + 1] = False
    arrays = {
        name: np.where(tradable, getattr(changed, name), np.nan)
        for name in ("open", "high", "low", "close", "volume", "raw_close")
    }
    rest = {"split": changed.split, "dividend": changed.dividend, "tradable": tradable}
    for name in arrays:
        assert (getattr(changed, name)[LAST + 1 :] != getattr(bars, name)[LAST + 1 :]).all()
    return [changed, Bars(bars.dates, bars.symbols, **arrays, **rest)]


def policy_and_model(n_features: int, config: PolicyConfig = PLAIN) -> tuple[Policy, RewardModel]:
    """An untrained policy that trades much, and a reward model that refuses about half."""
    generator = torch.Generator().manual_seed(1)
    policy = Policy(n_features, config, 1, generator)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(1, 3, *shape, generator=generator)

    inputs, width = 2 * n_features + 6, 4
    model = RewardModel(
        draw(inputs), draw() * 0.0, draw(inputs, width), draw(width), draw(width), torch.ones(1)
    )
    return policy, model


def train_until(
    market: MarketTensors, n_features: int, policy_config: PolicyConfig
) -> list[torch.Tensor]:
    """Weights of a policy trained on bars up to t."""
    policy = Policy(n_features, policy_config, 1, torch.Generator().manual_seed(1))
    config = TrainConfig(iterations=3, horizon=8, batch=4)
    training = start_training(policy, config, torch.Generator().manual_seed(2))
    train(training, market, range(FIRST, LAST + 1), COSTS, config, ProfitReward(5.0))
    return [parameter.detach() for parameter in policy.parameters()]


def propose(maker: ProposalMaker, lived, market: MarketTensors) -> list[Proposal]:
    """Proposals at some bars up to t, for the portfolio that the walk held there."""
    made = []
    for t in (FIRST + 3, FIRST + 20, LAST - 1, LAST):
        held = lived.held[t - FIRST, 0, 0]
        book = Book(held, torch.full_like(held, 0.9), 1e6)
        made += maker.at(t, book, "live" if t == LAST else "history")
    return made


def shown_order(proposals: list[Proposal]) -> list[tuple[str, int, str]]:
    """The order in which two reviewers are shown the proposals."""
    order = []
    deadline = datetime(2030, 1, 1, tzinfo=UTC)
    for reviewer in ("ann", "bob"):
        left = {p.id: p for p in proposals}
        while left:
            candidates = [Candidate(k, deadline if p.mode == "live" else None)
                          for k, p in left.items()]  # fmt: skip
            choice = choose(candidates, reviewer, seed=1)
            chosen = left.pop(choice.proposal_id)
            order.append((reviewer, chosen.bar, chosen.symbol))
    return order


def observe(
    bars: Bars,
    registry: FeatureRegistry,
    names: tuple[str, ...],
    config: PolicyConfig = PLAIN,
) -> dict[str, object]:
    """Everything that is observed, decided, scored or shown up to t."""
    features = compute_features(bars, names, registry)
    market = MarketTensors.from_bars(bars, features)
    policy, model = policy_and_model(len(names), config)
    desk, judge = ModelDesk(model), StyleDesk.of("reversal", names)
    decisions = LAST - FIRST + 1
    lived = walk(
        policy, market, torch.tensor([FIRST]), decisions, COSTS, GATE, model=desk, decider=judge
    )
    maker = ProposalMaker(
        "us4", bars, market.features, names, registry, policy, "policy", COSTS, GATE.min_trade
    )
    proposals = propose(maker, lived, market)
    env = VectorMarketEnv(bars, COSTS, 2, features=features, first_bar=FIRST, desk=judge)
    seen, rewards = [env.reset(options={"start": FIRST})[0]], []
    targets = np.random.default_rng(0).uniform(0, 0.3, (*bars.shape,))
    for t in range(FIRST, LAST):
        obs, reward, *_ = env.step(np.stack([targets[t]] * 2))
        seen.append(obs)
        rewards.append(reward)
    result = run_backtest(bars, targets, COSTS)
    trades = TradeTensors.of(proposals)
    with torch.no_grad():
        encoded = policy.encode_bars(market.features, torch.arange(FIRST, LAST + 1))
        wanted = policy.decide(encoded, torch.zeros(1, decisions, bars.shape[1])).target
    return {
        "features": features[: LAST + 1],
        "policy targets": wanted,
        **{
            f"walk {name}": getattr(lived, name)
            for name in ("held", "target", "shown", "executed", "approval")
        },
        "walk growth": lived.log_growth[:-1],
        "env observations": torch.stack(seen),
        "env rewards": torch.stack(rewards),
        "proposals": [{**asdict(p), "data_sha256": None} for p in proposals],
        "reward model scores": trades.approval(desk),
        "queue order": shown_order(proposals),
        "backtest equity": result.equity[:, : LAST + 1],
        "backtest orders": result.traded[:, : LAST + 1],
        "trained weights": torch.cat(
            [w.flatten() for w in train_until(market, len(names), config)]
        ),
    }


def differences(one: dict[str, object], other: dict[str, object]) -> set[str]:
    """Names of what is not bit for bit the same."""

    def same(a: object, b: object) -> bool:
        if isinstance(a, torch.Tensor):
            a, b = a.numpy(), b.numpy()
        return a.tobytes() == b.tobytes() if isinstance(a, np.ndarray) else a == b

    return {name for name in one if not same(one[name], other[name])}


def leaks(
    bars: Bars,
    other_futures: list[Bars],
    registry: FeatureRegistry | None = None,
    names: tuple[str, ...] = OHLCV_FEATURES,
    config: PolicyConfig = PLAIN,
) -> set[str]:
    """Names of what depends on the future."""
    registry = registry or default_registry()
    now = observe(bars, registry, names, config)
    return set().union(
        *(differences(now, observe(x, registry, names, config)) for x in other_futures)
    )


@pytest.fixture(scope="module")
def seen(bars: Bars) -> dict[str, object]:
    return observe(bars, default_registry(), OHLCV_FEATURES)


def test_the_canary_looks_at_something(seen):
    """An empty world would pass, too."""
    shown, executed = seen["walk shown"], seen["walk executed"]
    assert 0 < int(executed.count_nonzero()) < int(shown.sum()) < shown.numel()
    assert len(seen["proposals"]) >= 8
    assert any(p["bar"] == LAST for p in seen["proposals"])
    assert executed[-1].any()
    assert len({float(p) for p in seen["reward model scores"]}) >= 8


def test_nothing_after_t_changes_anything_up_to_t(bars, other_futures):
    assert leaks(bars, other_futures) == set()


@pytest.mark.parametrize(
    "config", [c for c in ARCHITECTURES if not c.long_only],
    ids=lambda c: f"{c.encoder}-{c.context}",
)  # fmt: skip
def test_no_architecture_sees_what_comes_after_t(bars, other_futures, config):
    assert leaks(bars, other_futures[:1], config=config) == set()


@pytest.mark.parametrize("encoder", ["gru", "conv"])
def test_a_window_that_ends_a_bar_late_is_caught(bars, other_futures, encoder, monkeypatch):
    config = PolicyConfig(hidden=8, encoder=encoder, window=5)
    rows = policy_module.window_rows
    monkeypatch.setattr(
        policy_module, "window_rows", lambda features, t, length: rows(features, t + 1, length)
    )
    caught = leaks(bars, other_futures[:1], config=config)
    assert {"policy targets", "walk target"} <= caught


def test_nothing_changes_when_the_future_has_not_happened_yet(seen, bars):
    """The last bar of the data: proposals at t are those made with later bars at hand."""
    names = OHLCV_FEATURES
    short = bars.window(0, LAST + 1)
    policy, _ = policy_and_model(len(names))
    features = torch.tensor(compute_features(short, names))
    maker = ProposalMaker(
        "us4", short, features, names, default_registry(), policy, "policy", COSTS, GATE.min_trade
    )
    held = seen["walk held"][LAST - FIRST, 0, 0]
    made = maker.at(LAST, Book(held, torch.full_like(held, 0.9), 1e6), "live")
    before = [p for p in seen["proposals"] if p["bar"] == LAST]
    assert [{**asdict(p), "data_sha256": None} for p in made] == before


def next_close(bars: Bars) -> np.ndarray:
    """Tomorrow's return as a feature of today."""
    later = np.vstack([bars.close[1:], bars.close[-1:]])
    return np.clip(100.0 * (later / bars.close - 1.0), -3.0, 3.0)


def test_a_feature_that_looks_ahead_is_caught_everywhere(bars, other_futures):
    registry = default_registry()
    registry.register(Feature("tomorrow", 0, "tomorrow", "r[t+1]", next_close))
    names = (*OHLCV_FEATURES, "tomorrow")
    assert {
        "features",
        "policy targets",
        "walk target",
        "env observations",
        "proposals",
        "reward model scores",
    } <= leaks(bars, other_futures, registry, names)


def leak_in_proposals(monkeypatch: pytest.MonkeyPatch) -> str:
    """A proposal priced at the next open."""
    monkeypatch.setattr(
        ProposalMaker, "_raw_close", lambda self, t, asset: float(self.bars.open[t + 1, asset])
    )
    return "proposals"


def leak_in_the_env(monkeypatch: pytest.MonkeyPatch) -> str:
    """Weights observed after the overnight gap that follows."""
    observe = VectorMarketEnv._observe

    def leaky(self: VectorMarketEnv) -> torch.Tensor:
        obs = observe(self).clone()
        obs[:, -1] += self.market.overnight[self.accounts.t + 1, 0].float()
        return obs

    monkeypatch.setattr(VectorMarketEnv, "_observe", leaky)
    return "env observations"


def leak_in_the_walk(monkeypatch: pytest.MonkeyPatch) -> str:
    """Trades settled against the weights at the fill."""
    settle = review_module.settle
    state = {}
    advance = rollout_module.advance

    def watching(market, t, *accounts):
        state["night"] = market.overnight[(t + 2).clamp(max=market.shape[0] - 1)]
        return advance(market, t, *accounts)

    def leaky(held, change, max_gross):
        night = state.get("night", torch.zeros(1))
        return settle(held, change * (1 + night.to(change.dtype)), max_gross)

    monkeypatch.setattr(rollout_module, "advance", watching)
    monkeypatch.setattr(review_module, "settle", leaky)
    return "walk executed"


def leak_in_the_fills(monkeypatch: pytest.MonkeyPatch) -> str:
    """Orders shown only where they will fill."""
    build = MarketTensors.from_bars.__func__

    def leaky(cls, bars, features, *settings, **named):
        market = build(cls, bars, features, *settings, **named)
        market.fillable[:-1] = market.fillable[1:].clone()
        return market

    monkeypatch.setattr(MarketTensors, "from_bars", classmethod(leaky))
    return "walk shown"


@pytest.mark.parametrize(
    "leak", [leak_in_proposals, leak_in_the_env, leak_in_the_walk, leak_in_the_fills]
)
def test_a_leak_in_the_code_is_caught(bars, other_futures, leak, monkeypatch):
    caught = leak(monkeypatch)
    assert caught in leaks(bars, other_futures)
