"""Train the base policy, and the policies shaped by a desk."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from trading_rlhf.agent import (
    ALONE,
    Demonstrations,
    Policy,
    PolicyRecord,
    ProfitReward,
    Ranks,
    Training,
    load_training,
    orthogonal_start,
    pretrain,
    save_policy,
    save_training,
    start_training,
    train,
)
from trading_rlhf.backtest import stack_policies
from trading_rlhf.env import MarketTensors
from trading_rlhf.loop.context import Context
from trading_rlhf.loop.fitting import Checkpoint, Watch, best_check, fit_policy
from trading_rlhf.market import bootstrap_bars, compute_features
from trading_rlhf.reward import ShapedReward, ShapingConfig, SlicedDesk, SlicedReward
from trading_rlhf.types import Desk, JsonDict, Progress

__all__ = ["help_training", "shape_policies", "store_policy", "train_base", "training_histories"]


def train_base(
    context: Context, progress: Progress, watch: Watch | None = None, ranks: Ranks = ALONE
) -> PolicyRecord:
    """Train the profit-only policy on the earlier bars; goes on where a killed run stopped.

    Args:
        context: the run.
        progress: told about each iteration.
        watch: shown the training after each iteration, beside that.
        ranks: processes that train together, of which this is the first; the others call
            ``help_training``.

    Returns:
        Record of the stored policy.

    Raises:
        TrainingError: the training explodes; its last checkpoint stays.
        RunError: another rank is lost.
    """
    kept, training = _begin(context, progress)

    def seen(done: Training) -> None:
        progress("training the base policy", done.iteration, context.config.train.iterations)
        if watch is not None:
            watch(done)

    fit_policy(context, training, training_histories(context), kept, seen, ranks)
    bars = context.stopping_bars or context.train_bars
    record = store_policy(
        context, training.policy, "base", None, context.bars.dates[bars[-1]].isoformat(),
        _how_it_went(context, training),
    )  # fmt: skip
    for suffix in (".safetensors", ".json"):
        kept.path.with_suffix(suffix).unlink(missing_ok=True)
    return record


def help_training(context: Context, ranks: Ranks) -> None:
    """Take a share of ``train_base``, which another process keeps and records.

    Args:
        context: the run, opened a second time; nothing is written.
        ranks: processes that train together.

    Raises:
        TrainingError: the training explodes.
        RunError: another rank is lost.
    """
    kept, training = _begin(context, lambda _stage, _done, _total: None, writes=False)
    fit_policy(context, training, training_histories(context), kept, lambda _: None, ranks)


def _begin(
    context: Context, progress: Progress, *, writes: bool = True
) -> tuple[Checkpoint, Training]:
    """The base policy's training at its start or where it was killed, and where it is kept."""
    config = context.config
    generator = context.generator("train")
    policy = Policy(len(config.features), config.policy, 1, generator)
    stopping = context.stopping_bars
    identity = {
        "data": context.bars.sha256,
        "features": list(config.features),
        "policy": config.policy.model_dump(),
        "seed": config.seed,
        "histories": [config.histories, config.block],
        "bars": [context.train_bars.start, context.train_bars.stop],
    }
    if stopping:
        identity["stopping"] = [stopping.start, stopping.stop]
    kept = Checkpoint(context.folder / "training", identity)
    training = load_training(kept.path, policy, config.train, identity)
    if training is None:
        if config.train.method == "ppo" and config.train.ppo.orthogonal:
            orthogonal_start(policy, generator)
        pretrained = _pretrain(context, policy, progress)
        training = start_training(policy, config.train, generator)
        if pretrained and writes:
            # Kept before the first iteration, so that a killed run does not pre-train again.
            save_training(training, kept.path, config.train, identity)
    return kept, training


def _pretrain(context: Context, policy: Policy, progress: Progress) -> bool:
    """Pre-train the encoder on the training bars where the settings say so; whether they do."""
    settings = context.config.train.pretrain
    if not settings.iterations:
        return False
    pretrain(
        policy,
        context.market,
        context.train_bars,
        settings,
        context.generator("pretrain"),
        lambda done: progress("pre-training the encoder", done, settings.iterations),
    )
    return True


def _how_it_went(context: Context, training: Training) -> JsonDict:
    """What the record says beside the settings: what chose the weights, and other rates before."""
    details: JsonDict = {"setbacks": training.setbacks} if training.setbacks else {}
    if training.checks:
        dates, bars = context.bars.dates, context.stopping_bars
        iteration, score = best_check(training)
        details["stopping"] = {
            "period": [str(dates[bars[0]].date()), str(dates[bars[-1]].date())],
            "best": iteration,
            "trained": training.iteration,
            "checks": len(training.checks),
            "score_bps": 1e4 * score,
        }
    return details


def training_histories(context: Context) -> list[tuple[MarketTensors, range]]:
    """The earlier bars as they happened, then histories resampled from them alone.

    Returns:
        Each market in the precision of training, with the decision bars that may be visited.
    """
    config, first = context.config, context.train_bars.start
    histories = [(context.market.to(torch.float32), context.train_bars)]
    # Warm-up bars before the first decision are history, too; the test period is not in it.
    past = context.bars.window(0, context.train_bars.stop)
    seed = int(torch.randint(2**31, (1,), generator=context.generator("histories")))
    generator = np.random.default_rng(seed)
    for _ in range(config.histories):
        drawn = bootstrap_bars(past, generator, block=config.block)
        features = compute_features(drawn, config.features, context.registry)
        market = MarketTensors.for_costs(drawn, features, config.costs, dtype=torch.float32)
        # A block from before an asset was listed is a gap in the new history, no delisting.
        market = replace(market, delisted=None)
        histories.append((market, range(first, drawn.shape[0])))
    return histories


def shape_policies(
    context: Context,
    base: Policy,
    desks: Sequence[Desk],
    purpose: str,
    progress: Progress,
    shapings: Sequence[ShapingConfig] | None = None,
    demonstrations: Demonstrations | None = None,
) -> list[Policy]:
    """Train one policy per desk from the base policy, side by side, with the desk as the gate.

    Args:
        context: the run.
        base: the profit-only policy (S = 1); also the centre of the trust region.
        desks: what decides in training, one per policy.
        purpose: names the random numbers.
        progress: told about each iteration.
        shapings: price and target of each policy; None is the run's for all.
        demonstrations: weights that reviewers wanted, see ``wanted_weights``; they count by
            ``shape.imitation``.

    Returns:
        Single policies in the order of ``desks``.
    """
    config = context.config
    priced = [config.shaping] * len(desks) if shapings is None else shapings
    profit = ProfitReward(config.shape.risk_aversion)
    stacked = stack_policies([base] * len(desks))
    training = start_training(stacked, config.shape, context.generator(purpose))
    train(
        training,
        context.market,
        context.train_bars,
        config.costs,
        config.shape,
        SlicedReward(tuple(ShapedReward(profit, shaping) for shaping in priced)),
        desk=SlicedDesk(tuple((1, desk) for desk in desks)),
        gate=config.gate,
        capital=config.equity,
        anchor=stacked.select(list(range(len(desks)))),
        on_step=lambda done: progress("training under the desk", done, config.shape.iterations),
        demonstrations=demonstrations,
    )
    return [stacked.select([member]) for member in range(len(desks))]


def store_policy(
    context: Context,
    policy: Policy,
    kind: str,
    parent: str | None,
    trained_to: str | None = None,
    details: JsonDict | None = None,
) -> PolicyRecord:
    """Save a policy and record it in the store.

    Args:
        context: the run.
        policy: what to keep.
        kind: "base", "shaped" or "placebo".
        parent: id of the policy it was trained from.
        trained_to: date of the last bar it was fitted on (ISO); None is that of the run.
        details: more to record.
    """
    record = save_policy(
        policy, context.policies, context.config.features, context.bars.sha256, kind, parent
    )
    with torch.no_grad():
        size = sum(parameter.numel() for parameter in policy.parameters())
    last = context.bars.dates[context.train_bars.stop - 1]
    payload: JsonDict = {
        "id": record.id,
        "parent": parent,
        "data_sha256": record.data_sha256,
        "parameters": size,
        "trained_to": last.isoformat() if trained_to is None else trained_to,
        **(details or {}),
    }
    if kind != "base":
        payload["shaping"] = context.config.shaping.model_dump(mode="json")
    context.record("policy", kind, payload, subject=record.id)
    return record
