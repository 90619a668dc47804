"""The placebo of a run: the same learning from shuffled answers, kept so that backtests show it."""

from dataclasses import dataclass

import torch

from trading_rlhf.agent import Policy, Walk, load_policy, walk
from trading_rlhf.backtest import matching_thresholds, shown_notional
from trading_rlhf.loop.context import Context
from trading_rlhf.loop.training import store_policy
from trading_rlhf.reward import (
    ModelDesk,
    RewardModel,
    RewardRecord,
    load_reward_model,
    save_reward_model,
)

__all__ = ["Placebo", "placebo_walk", "store_placebo", "stored_placebo"]

_KIND = "placebo"


@dataclass(frozen=True)
class Placebo:
    """A policy and the reward model that shaped and filters it, fitted on shuffled answers.

    Attributes:
        policy: a single policy.
        policy_id: its name in the run.
        model: its filter.
        model_id: the filter's name in the run.
    """

    policy: Policy
    policy_id: str
    model: RewardModel
    model_id: str


def store_placebo(
    context: Context, policy: Policy, model: RewardModel, learned: RewardRecord, parent: str
) -> None:
    """Keep a placebo beside what was learned from the same answers in their true order.

    Args:
        context: the run.
        policy: shaped by ``model``.
        model: fitted on the answers, shuffled.
        learned: the reward model fitted on the answers themselves.
        parent: id of the base policy.
    """
    record = save_reward_model(
        model, context.rewards, learned.feature_names, learned.answer_ids, learned.simulated,
        None, context.config.fit,
    )  # fmt: skip
    payload = {"id": record.id, "of": learned.id, "simulated": learned.simulated}
    context.record("reward_model", _KIND, payload, subject=record.id)
    store_policy(context, policy, _KIND, parent)


def stored_placebo(context: Context) -> Placebo | None:
    """The placebo of the newest reward model; None where none was kept for it."""
    fitted, blind = (context.newest("reward_model", kind) for kind in ("fitted", _KIND))
    policy = context.newest("policy", _KIND)
    if fitted is None or blind is None or policy is None:
        return None
    if blind.payload["of"] != fitted.payload["id"]:
        return None
    name, model_name = policy.payload["id"], blind.payload["id"]
    return Placebo(
        load_policy(context.policies, name)[0],
        name,
        load_reward_model(context.rewards, model_name)[0],
        model_name,
    )


def placebo_walk(context: Context, placebo: Placebo, shaped: Walk) -> Walk:
    """Walk the placebo over the test period, nobody refusing what its filter shows.

    Its threshold is the one at which it shows as much as the shaped arm does, so that it is
    compared at the same amount shown.

    Args:
        context: the run.
        placebo: from ``stored_placebo``.
        shaped: the shaped arm's walk over the same bars.
    """
    config, start = context.config, torch.tensor([context.test_bars.start])
    length = len(context.test_bars) - 1
    (threshold,) = matching_thresholds(
        [placebo.policy], [placebo.model], shown_notional(shaped, 0), context.market, start,
        length, config.costs, config.gate, None,
        capital=config.equity, generator=context.generator("reviews"),
    )  # fmt: skip
    return walk(
        placebo.policy, context.market, start, length, config.costs, config.gate,
        model=ModelDesk(placebo.model), thresholds=torch.tensor([threshold]),
        capital=config.equity, generator=context.generator("reviews"),
    )  # fmt: skip
