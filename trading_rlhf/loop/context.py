"""What every step of the loop works on: a run's folder, settings, bars, tensors and store."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import torch

from trading_rlhf.agent import Policy, PolicyRecord, load_policy
from trading_rlhf.config import RunConfig, read_config
from trading_rlhf.env import MarketTensors
from trading_rlhf.errors import DataError, RunError
from trading_rlhf.market import (
    Bars,
    FeatureRegistry,
    compute_features,
    load_bars,
    registry_with,
    time_split,
    warmup,
)
from trading_rlhf.proposals import HORIZON, ProposalMaker
from trading_rlhf.reward import RewardModel, RewardRecord, load_reward_model
from trading_rlhf.store import Event, Store, append, last_event, open_store, write_head
from trading_rlhf.types import Clock, JsonDict

__all__ = ["Context", "SettableClock", "open_context", "require_database", "require_run"]

_FEWEST_TO_STOP = 20


class SettableClock:
    """The present, or the moment of a replay.

    Args:
        present: the real clock.
    """

    def __init__(self, present: Clock) -> None:
        self._present = present
        self.moment: datetime | None = None

    def __call__(self) -> datetime:
        """Return the replayed moment where one is set, else the present."""
        return self.moment if self.moment is not None else self._present()


@dataclass(frozen=True)
class Context:
    """An open run.

    Attributes:
        folder: the run directory.
        config: its settings.
        bars: its market.
        registry: the features it may use.
        market: bars and features as tensors (float64 money).
        train_bars: earlier bars, for fitting.
        stopping_bars: bars after those, purged, that say when training stops; nothing is fitted on
            them. Empty unless the settings stop early.
        validation_bars: bars after those, purged, for choosing a champion; neither fitted nor
            stopped on. Empty where the settings keep none.
        test_bars: later bars, purged, for reporting.
        store: its database.
        clock: settable, for replays.
    """

    folder: Path
    config: RunConfig
    bars: Bars
    registry: FeatureRegistry
    market: MarketTensors
    train_bars: range
    stopping_bars: range
    validation_bars: range
    test_bars: range
    store: Store
    clock: SettableClock

    @property
    def policies(self) -> Path:
        """Folder of stored policies."""
        return self.folder / "policies"

    @property
    def rewards(self) -> Path:
        """Folder of stored reward models."""
        return self.folder / "rewards"

    def generator(self, purpose: str) -> torch.Generator:
        """Random numbers of one purpose: steps added elsewhere do not change them."""
        offset = int.from_bytes(purpose.encode(), "big") % (2**31 - 1)
        return torch.Generator().manual_seed(self.config.seed * 1_000_003 + offset)

    def record(self, stream: str, kind: str, payload: JsonDict, subject: str | None = None) -> None:
        """Append an event of the machine itself and sign the heads."""
        with self.store.write() as session:
            append(session, stream, kind, payload, actor="system", subject=subject)
        self.sign()

    def record_data(self) -> None:
        """Note which bars the run works on; the same bars are noted once."""
        payload = {"name": self.config.data, "sha256": self.bars.sha256}
        with self.store.write() as session:
            append(session, "data", "loaded", payload, actor="system", key=self.bars.sha256)

    def sign(self) -> None:
        """Write the signed heads of all streams beside the database."""
        write_head(self.store, self.folder / "audit_head.json")

    def newest(self, stream: str, kind: str) -> Event | None:
        """The last event of a kind."""
        with self.store.read() as session:
            return last_event(session, stream, kind)

    def policy(self, kind: str) -> tuple[Policy, PolicyRecord]:
        """The newest policy of a kind ("base", "shaped").

        Raises:
            RunError: there is none yet.
        """
        event = self.newest("policy", kind)
        if event is None:
            command = "train" if kind == "base" else "learn"
            raise RunError(
                f"the run needs a {kind} policy",
                f"none in {self.folder}",
                f"Run 'trading-rlhf {command} --run {self.folder}' first.",
            )
        return load_policy(self.policies, event.payload["id"])

    def reward_model(self) -> tuple[RewardModel, RewardRecord] | None:
        """The newest reward model, None before the first fit."""
        event = self.newest("reward_model", "fitted")
        return None if event is None else load_reward_model(self.rewards, event.payload["id"])

    def proposal_maker(self, policy: Policy, policy_id: str) -> ProposalMaker:
        """What turns this policy's output into proposals on this market."""
        return ProposalMaker(
            market_name=self.config.data,
            bars=self.bars,
            features=self.market.features,
            feature_names=self.config.features,
            registry=self.registry,
            policy=policy,
            policy_id=policy_id,
            costs=self.config.costs,
            liquidity=self.market.liquidity,
            min_trade=self.config.gate.min_trade,
            delay=self.config.gate.delay,
        )


def require_run(folder: Path) -> None:
    """Refuse a folder that is no run, or one that lost its database.

    Raises:
        RunError: there is no config.yaml, or ``require_database`` refuses.
    """
    if not (folder / "config.yaml").is_file():
        raise RunError(
            "a run directory must hold config.yaml",
            f"none in {folder}",
            "Make a run with 'trading-rlhf demo', 'train' or 'review'.",
        )
    require_database(folder)


def require_database(folder: Path) -> None:
    """Refuse a run whose database is gone while its signed head still vouches for events.

    Raises:
        RunError: store.db is missing or empty beside audit_head.json.
    """
    database = folder / "store.db"
    lost = not database.is_file() or database.stat().st_size == 0
    if lost and (folder / "audit_head.json").exists():
        raise RunError(
            "a run's database must be there",
            f"none in {folder}, although audit_head.json vouches for its events",
            "Restore store.db from a backup.",
        )


def open_context(
    folder: Path, audit_key: bytes, clock: SettableClock, config: RunConfig | None = None
) -> Context:
    """Open a run directory, making its store where there is none.

    Args:
        folder: ``runs/<name>``.
        audit_key: secret of the audit chain.
        clock: the present.
        config: settings; None reads the run's own config.yaml.

    Raises:
        RunError: there is no such run.
        DataError: the market is too short for the settings.
    """
    if config is None:
        require_run(folder)
        config = read_config(folder / "config.yaml")
    else:
        require_database(folder)
    bars = load_bars(config.data)
    registry = registry_with(config.feature_files)
    features = compute_features(bars, config.features, registry)
    first = warmup(config.features, registry)
    if bars.shape[0] < first + 200:
        raise DataError(
            f"a run needs at least {first + 200} bars ({first} to warm features up, 200 to use)",
            f"{bars.shape[0]} bars in {config.data}",
            "Use a longer history.",
        )
    train, stopping, validation, test = _periods(bars.shape[0], first, config)
    return Context(
        folder=folder,
        config=config,
        bars=bars,
        registry=registry,
        market=MarketTensors.for_costs(bars, features, config.costs),
        train_bars=train,
        stopping_bars=stopping,
        validation_bars=validation,
        test_bars=test,
        store=open_store(folder / "store.db", audit_key, clock),
        clock=clock,
    )


def _periods(n_bars: int, first: int, config: RunConfig) -> tuple[range, range, range, range]:
    """Bars to fit, stop, validate and report on, with a purged gap before each later one."""
    earlier, test = time_split(n_bars, config.train_fraction, HORIZON)
    usable = range(first, earlier.stop)
    kept = int(len(usable) * config.validation_fraction)
    train = usable[: -kept - HORIZON] if kept else usable
    if kept and not train:
        raise DataError(
            "the bars before the test period must hold some to fit on beside those for validation",
            f"{len(usable)} of them, {kept} and a gap of {HORIZON} taken for validation",
            "Use a longer history, a larger train_fraction or a smaller validation_fraction.",
        )
    stopping, validation = range(0), usable[len(usable) - kept :]
    if config.train.patience:
        # What chose the weights must not be what they are then judged by.
        half = max((kept - HORIZON) // 2, 0)
        stopping, validation = validation[:half], validation[half + HORIZON :]
        if half < _FEWEST_TO_STOP:
            raise DataError(
                f"stopping early needs at least {_FEWEST_TO_STOP} bars, half of those for "
                "validation",
                f"{half}",
                "Use a longer history, a larger validation_fraction, or train.patience 0.",
            )
    return train, stopping, validation, range(test.start, n_bars)
