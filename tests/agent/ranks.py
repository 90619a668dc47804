"""What each of two processes does for test_distributed, run with a folder and a rank.

They train small policies in several ways, then fail alike, then one of them is killed.
"""

import os
import signal
import sys
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from trading_rlhf.accounting import CostModel
from trading_rlhf.agent import (
    ALONE,
    Policy,
    PolicyConfig,
    PpoConfig,
    ProfitReward,
    Ranks,
    TrainConfig,
    distributed,
    join_ranks,
    start_training,
    train,
)
from trading_rlhf.env import GateConfig, MarketTensors
from trading_rlhf.errors import TradingRlhfError
from trading_rlhf.market import planted_market

SMALL = TrainConfig(iterations=4, horizon=6, batch=9)
"""Nine rollouts are five for one of two processes and four for the other."""


def by_ppo(**settings: float) -> TrainConfig:
    return SMALL.model_copy(update={"method": "ppo", "ppo": PpoConfig(**settings)})


CASES = {
    "apg": SMALL,
    "apg to the trust region": SMALL.model_copy(update={"trust_region": 2e-3}),
    # 54 decisions: three minibatches of 16 and one of 6.
    "ppo": by_ppo(epochs=3, minibatch=16, learning_rate=1e-2),
    # The last minibatch is a single decision; policies rest once they have moved.
    "ppo that rests": by_ppo(epochs=4, minibatch=53, learning_rate=1e-2, target_kl=2e-4),
}


def trained(config: TrainConfig, ranks: Ranks = ALONE) -> dict[str, torch.Tensor]:
    """Weights of two policies, and what was said of their training, under a slow random desk."""
    planted = planted_market(np.random.default_rng(0), n_bars=300, n_assets=4)
    market = MarketTensors.from_bars(planted.bars, planted.features)
    generator = torch.Generator().manual_seed(0)
    policy = Policy(5, PolicyConfig(hidden=8), 2, generator)
    training = start_training(policy, config, generator)
    train(
        training, market, range(100, 280), CostModel(), config, ProfitReward(5.0),
        desk=lambda features, held, target: torch.sigmoid(features[..., 0] + 0.0 * target),
        gate=GateConfig(delay=1, answer_rate=0.7), anchor=policy.select([0, 1]), ranks=ranks,
    )  # fmt: skip
    found = {f"policy.{name}": value for name, value in policy.state_dict().items()}
    if training.critic is not None:
        found |= {f"critic.{name}": value for name, value in training.critic.state_dict().items()}
    found |= {f"figure.{name}": value for name, value in training.figures.items()}
    found["history"] = 1e4 * torch.tensor(training.history)
    found["frozen"] = training.frozen
    found["chance"] = training.generator.get_state()
    return {name: value.detach().clone() for name, value in found.items()}


def train_all_cases(folder: Path, rank: int) -> None:
    """Train every case and keep what came of it."""
    with meeting(folder, "cases", rank) as ranks:
        for name, config in CASES.items():
            save_file(trained(config, ranks), folder / f"{name} {rank}.safetensors")


def fail_alike(folder: Path, rank: int) -> None:
    """Fail in both processes and keep the last words of each."""
    words = "nothing"
    try:
        with meeting(folder, "failing", rank) as ranks:
            trained(SMALL.model_copy(update={"learning_rate": 1e20}), ranks)
    except TradingRlhfError as error:
        words = str(error)
    except SystemExit as silent:
        words = f"left with {silent.code}"
    (folder / f"words {rank}").write_text(words)


def lose_one(folder: Path, rank: int) -> None:
    """Train until the second process is killed."""
    with meeting(folder, "losing", rank) as ranks:
        ranks.meet()
        if not ranks.first:
            os.kill(os.getpid(), signal.SIGKILL)
        trained(SMALL, ranks)


def meeting(folder: Path, name: str, rank: int) -> AbstractContextManager[Ranks]:
    return join_ranks(f"file://{folder}/{name}?rank={rank}&world_size=2")


if __name__ == "__main__":
    # Nobody's exit ends a wait here: the first to speak goes on to the next chapter.
    distributed._LAST_WORDS = timedelta(seconds=0.1)
    try:
        for chapter in (train_all_cases, fail_alike, lose_one):
            chapter(Path(sys.argv[1]), int(sys.argv[2]))
    except TradingRlhfError as error:
        sys.exit(str(error))
