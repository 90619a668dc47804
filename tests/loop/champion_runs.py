"""A run on a market where yesterday's return says much of today's, and policies set by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from trading_rlhf.agent import Policy
from trading_rlhf.config import RunConfig, read_config, write_config
from trading_rlhf.loop import Context, SettableClock, open_context, store_policy
from trading_rlhf.market import Bars, write_bars
from trading_rlhf.reward import RewardModel, save_reward_model
from trading_rlhf.services.runs import system_clock

FEATURES = ("return_1", "volume_20")
N_BARS = 800


def planted_bars() -> Bars:
    """Four assets whose returns carry over by 0.6; volume knows nothing."""
    draws = np.random.default_rng(3)
    shocks = draws.normal(0.0, 0.01, (N_BARS, 4))
    returns = np.zeros_like(shocks)
    for t in range(1, N_BARS):
        returns[t] = 0.6 * returns[t - 1] + shocks[t]
    close = 50.0 * np.exp(returns.cumsum(0))
    open_ = np.vstack([close[:1], close[:-1]])
    days = pd.bdate_range("2001-01-02", periods=N_BARS)
    volume = 1e6 * np.exp(draws.normal(0.0, 0.5, close.shape))
    return Bars(days, list("ABCD"), open_, None, None, close, volume)


def champion_run(folder: Path, bars: Bars | None = None, **settings: object) -> Path:
    """The run's directory."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "bars.parquet"
    write_bars(planted_bars() if bars is None else bars, data)
    run = folder / "run"
    run.mkdir()
    chosen = {
        "data": str(data), "features": list(FEATURES), "policy.tilt": 4.0,
        "gate.cooldown": 0, "train.iterations": 4, **settings,
    }  # fmt: skip
    write_config(read_config(None, chosen), run / "config.yaml")
    return run


def opened(run: Path, key: bytes, settings: RunConfig | None = None) -> Context:
    return open_context(run, key, SettableClock(system_clock), settings)


def add_policy(context: Context, follows: float, likes: float = 0.0, kind: str = "base") -> str:
    """Store a policy that buys what rose (``follows`` > 0) or fell, or what is traded much."""
    policy = Policy(len(FEATURES), context.config.policy, 1, torch.Generator())
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.zero_()
        policy.feature_weight[0, :, 0] = torch.tensor([follows, likes])
        policy.hidden_weight[0, 0, 0] = 1.0
        policy.head_weight[0, 0, 0] = 2.0
        # Goes all the way at once.
        policy.head_bias[0, 0, 1:] = 4.0
    return store_policy(context, policy, kind, None).id


def add_desk(context: Context, taste: tuple[float, float]) -> str:
    """Store a reward model that approves of trades along these features."""
    inputs = 2 * len(FEATURES) + 6
    line = torch.zeros(1, 1, inputs)
    line[0, 0, len(FEATURES) : 2 * len(FEATURES)] = torch.tensor(taste)
    model = RewardModel(
        line, torch.zeros(1, 1), torch.zeros(1, 1, inputs, 2), torch.zeros(1, 1, 2),
        torch.zeros(1, 1, 2), torch.ones(1),
    )  # fmt: skip
    record = save_reward_model(
        model, context.rewards, FEATURES, (), True, None, context.config.fit
    )  # fmt: skip
    payload = {"id": record.id, "answers": 0, "simulated": True, "quality": None, "skill": {}}
    context.record("reward_model", "fitted", payload, subject=record.id)
    return record.id
