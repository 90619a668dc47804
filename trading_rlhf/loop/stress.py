"""Run a policy through the challenges of real-world learning, out of sample."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from trading_rlhf.agent import Policy, ProfitReward, Walk, start_training, train, walk
from trading_rlhf.backtest import record_trial, run_backtest
from trading_rlhf.config import RunConfig
from trading_rlhf.env import (
    CHALLENGES,
    LEVELS,
    Challenge,
    Setup,
    cut_market,
    join_markets,
    make_setup,
)
from trading_rlhf.env.objective import Outcome, score, violations
from trading_rlhf.errors import RunError
from trading_rlhf.loop.context import Context
from trading_rlhf.loop.reporting import hold_targets
from trading_rlhf.loop.stress_score import Cell, Measured, score_cell, undisturbed_cell
from trading_rlhf.loop.trial_names import base_trial, walked_trial
from trading_rlhf.market import compute_features
from trading_rlhf.reward import ModelDesk
from trading_rlhf.types import Desk, JsonDict, Progress

__all__ = ["StressPlan", "Stressed", "record_stress", "stress"]


@dataclass(frozen=True)
class StressPlan:
    """What is to be run.

    Attributes:
        policy: "base" or "shaped".
        names: challenges, from ``CHALLENGES``.
        levels: from ``LEVELS``.
        seed: of noise, retraining and bootstraps.
        draws: of noise, where a challenge is random.
        members: policies trained anew, where a challenge changes what is learned.
        desk: filter trades by the run's reward model.
    """

    policy: str = "base"
    names: tuple[str, ...] = tuple(CHALLENGES)
    levels: tuple[str, ...] = LEVELS
    seed: int = 0
    draws: int = 8
    members: int = 3
    desk: bool = False


@dataclass(frozen=True)
class Stressed:
    """The result.

    Attributes:
        policy_id: which policy was walked.
        undisturbed: its score without a challenge.
        retrained: score of policies trained anew without a challenge; None where none were.
        hold: score of buy and hold over the same bars (basis points per bar).
        cells: challenges and levels, in the order of the plan.
    """

    policy_id: str
    undisturbed: Cell
    retrained: Cell | None
    hold: float
    cells: list[Cell]

    def to_json(self) -> JsonDict:
        """JSON-ready dict."""
        return {
            "policy": self.policy_id,
            "undisturbed": self.undisturbed.to_json(),
            "retrained": None if self.retrained is None else self.retrained.to_json(),
            "hold": self.hold,
            "challenges": [cell.to_json() for cell in self.cells],
        }


def stress(context: Context, plan: StressPlan, progress: Progress) -> Stressed:
    """Walk a policy of the run over its test bars under every challenge of the plan.

    Args:
        context: the run.
        plan: policy, challenges and levels.
        progress: told about each walk and each training step.

    Raises:
        RunError: the run lacks the policy, or the reward model that the plan asks for.
    """
    policy, record = context.policy(plan.policy)
    bench = _Bench(context, plan, _desk(context) if plan.desk else None)
    before = bench.measure(policy, [bench.setup])
    undisturbed = bench.reference(before, retrained=False)
    walked = [name for name in plan.names if not _retrains(name)]
    trained = [name for name in plan.names if _retrains(name)]
    cells: dict[str, list[Cell]] = {}
    for done, name in enumerate(walked):
        progress("walking the challenges", done, len(walked))
        cells[name] = bench.walked(name, policy, before, undisturbed)
    if walked:
        progress("walking the challenges", len(walked), len(walked))
    retrained = None
    if trained:
        learner = _Learner(bench, progress, 1 + len(trained) * len(plan.levels))
        anew = bench.measure(learner.learn(bench.setup), [bench.setup])
        retrained = bench.reference(anew, retrained=True)
        for name in trained:
            cells[name] = bench.retrained(name, learner.learn, anew, retrained)
    hold = _hold(bench.setup, context.config)
    ordered = [cell for name in plan.names for cell in cells[name]]
    return Stressed(record.id, undisturbed, retrained, hold, ordered)


def record_stress(context: Context, plan: StressPlan, result: Stressed) -> None:
    """Note the result in the store, and count the look at the test bars as a trial."""
    cell, per_year = result.undisturbed, context.bars.bars_per_year
    stored = context.reward_model() if plan.desk else None
    if stored is not None:
        # The filter's own threshold, and nobody else who refuses.
        trial = walked_trial(
            context, result.policy_id, model_id=stored[1].id,
            threshold=context.config.gate.threshold,
        )  # fmt: skip
    elif plan.policy == "base":
        trial = base_trial(context, result.policy_id)
    else:
        trial = walked_trial(context, result.policy_id)
    with context.store.write() as session:
        record_trial(
            session,
            "backtest",
            config=trial,
            data=context.bars.sha256,
            seed=context.config.seed,
            actor="system",
            sharpe=cell.sharpe / per_year**0.5,
            bars_per_year=per_year,
            subject=f"stress {plan.policy}",
            settings=context.config.model_dump(mode="json"),
        )
    # Signs the heads of all streams.
    context.record("policy", "stressed", result.to_json(), subject=result.policy_id)


def _retrains(name: str) -> bool:
    return CHALLENGES[name][LEVELS[0]].retrains


def _desk(context: Context) -> Desk:
    stored = context.reward_model()
    if stored is None:
        raise RunError(
            "a run stressed with its desk needs a reward model",
            f"none in {context.folder}",
            f"Leave --desk out, or run 'trading-rlhf learn --run {context.folder}' first.",
        )
    return _OwnFeatures(ModelDesk(stored[0]), len(context.config.features))


def _hold(setup: Setup, config: RunConfig) -> float:
    """Mean log growth of buy and hold over the test bars (basis points per bar)."""
    window, limit = setup.bars.window(setup.test_bars.start, setup.test_bars.stop), config.policy
    held = run_backtest(
        window, hold_targets(window, limit.max_gross), setup.costs,
        max_gross=limit.max_gross, equity_usd=config.equity,
    )  # fmt: skip
    return float(np.log(held.equity[0, -1]) / (window.shape[0] - 1)) * 1e4


@dataclass(frozen=True)
class _OwnFeatures:
    """A desk that looks at the run's features only, whatever stands after them."""

    desk: Desk
    count: int

    def __call__(self, features: Tensor, held: Tensor, target: Tensor) -> Tensor:
        return self.desk(features[..., : self.count], held, target)


class _Bench:
    """The undisturbed setup, and how policies are measured on changed ones."""

    def __init__(self, context: Context, plan: StressPlan, desk: Desk | None) -> None:
        config = context.config
        self.context, self.plan, self.desk = context, plan, desk
        self.setup = make_setup(
            context.bars,
            lambda bars: compute_features(bars, config.features, context.registry),
            config.costs,
            config.gate,
            context.train_bars,
            context.test_bars,
            context.market,
        )

    def random(self, *words: str) -> np.random.Generator:
        """Random numbers of one purpose; the levels of a challenge share theirs."""
        return np.random.default_rng([self.plan.seed, *" ".join(words).encode()])

    def torch_random(self, purpose: str) -> torch.Generator:
        """The same for torch."""
        return torch.Generator().manual_seed(int(self.random(purpose).integers(2**62)))

    def measure(self, policy: Policy, setups: list[Setup]) -> Measured:
        """Walk S policies over D setups with the same gate: S * D draws in all."""
        first, bars = setups[0], len(setups[0].test_bars)
        market = join_markets([cut_market(setup.market, setup.test_bars) for setup in setups])
        start = torch.arange(len(setups)) * bars
        walked = walk(
            policy, market, start, bars - 1, first.costs, first.gate,
            model=self.desk, capital=self.context.config.equity,
        )  # fmt: skip
        return _measured(walked, first)

    def reference(self, measured: Measured, retrained: bool) -> Cell:
        """Figures of what happened without a challenge."""
        return undisturbed_cell(
            measured, retrained, self.context.bars.bars_per_year, self.torch_random("bootstrap")
        )

    def walked(self, name: str, policy: Policy, before: Measured, reference: Cell) -> list[Cell]:
        """A challenge at each level, in several draws where it is random."""
        cells = []
        for level in self.plan.levels:
            challenge = CHALLENGES[name][level]
            setups = self._draws(challenge)
            measured = self.measure(policy, setups)
            if setups[0].bars is not self.setup.bars:
                measured = replace(measured, hold=_hold(setups[0], self.context.config))
            cells.append(self._cell(challenge, level, measured, before, reference))
        return cells

    def retrained(
        self,
        name: str,
        learn: Callable[[Setup], Policy],
        before: Measured,
        reference: Cell,
    ) -> list[Cell]:
        """A challenge at each level, by policies that learned under it."""
        cells = []
        for level in self.plan.levels:
            challenge = CHALLENGES[name][level]
            setup = challenge.apply(self.setup, self.random(name, "0"))
            measured = self.measure(learn(setup), [setup])
            cells.append(self._cell(challenge, level, measured, before, reference))
        return cells

    def _draws(self, challenge: Challenge) -> list[Setup]:
        draws = self.plan.draws if challenge.random else 1
        return [
            challenge.apply(self.setup, self.random(challenge.name, str(draw)))
            for draw in range(draws)
        ]

    def _cell(
        self,
        challenge: Challenge,
        level: str,
        measured: Measured,
        before: Measured,
        reference: Cell,
    ) -> Cell:
        per_year = self.context.bars.bars_per_year
        return score_cell(
            challenge,
            level,
            measured,
            before,
            reference,
            per_year,
            self.torch_random("bootstrap"),
        )


class _Learner:
    """Trains policies anew with the run's own training budget."""

    def __init__(self, bench: _Bench, progress: Progress, trainings: int) -> None:
        self._bench, self._progress = bench, progress
        self._budget = bench.context.config.train.iterations
        self._total, self._done = trainings * self._budget, 0

    def learn(self, setup: Setup) -> Policy:
        """Train ``members`` policies side by side on the training bars of a setup."""
        config, plan = self._bench.context.config, self._bench.plan
        generator = self._bench.torch_random("retrain")
        n_features = setup.market.features.shape[-1]
        policy = Policy(n_features, config.policy, plan.members, generator)
        train(
            start_training(policy, config.train, generator),
            setup.market,
            setup.train_bars,
            setup.costs,
            config.train,
            ProfitReward(config.train.risk_aversion),
            on_step=lambda done: self._progress("retraining", self._done + done, self._total),
            capital=config.equity,
        )
        self._done += self._budget
        return policy


def _measured(walked: Walk, setup: Setup) -> Measured:
    """Score a walk by the setup's objective, in basis points per bar."""
    outcome = _outcome(walked)
    growth = walked.log_growth.double().flatten(1).T
    limits = setup.limits
    over = None if limits is None else violations(outcome, limits).any(-1)
    return Measured(
        score=(1e4 * score(outcome, setup.objective)).double().flatten(1).T.numpy(),
        returns=growth.expm1().numpy(),
        turnover=float(outcome.turnover.mean()),
        violations=None if over is None else float(over.double().mean()),
    )


def _outcome(walked: Walk) -> Outcome:
    """What each bar of a walk is judged by, ``[K, S, B]``."""
    equity = walked.log_growth.cumsum(0).exp()
    drawdown = 1.0 - equity / equity.cummax(0).values.clamp(min=1.0)
    before = torch.cat([torch.zeros_like(drawdown[:1]), drawdown[:-1]])
    after = torch.cat([walked.held[1:], walked.end.held[None]])
    return Outcome(
        log_growth=walked.log_growth,
        turnover=walked.executed.abs().sum(-1),
        exposure=after.abs().sum(-1),
        drawdown=drawdown,
        deepened=(drawdown - before).clamp(min=0),
    )
