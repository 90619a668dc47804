"""The placebo of a run: the same learning from shuffled answers, kept so that backtests show it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from trading_rlhf.agent import Policy, Walk, load_policy, walk
from trading_rlhf.backtest import matching_thresholds, shown_notional, stack_policies
from trading_rlhf.loop.context import Context
from trading_rlhf.loop.training import store_policy
from trading_rlhf.reward import (
    Fitted,
    ModelDesk,
    RewardModel,
    RewardRecord,
    load_reward_model,
    save_reward_model,
)
from trading_rlhf.store import read_events

__all__ = ["Placebo", "placebo_walk", "store_placebos", "stored_placebos"]

_KIND = "placebo"


@dataclass(frozen=True)
class Placebo:
    """One draw: a policy and the model that shaped and filters it, fitted on shuffled answers.

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


def store_placebos(
    context: Context,
    draws: Sequence[tuple[Policy, Fitted]],
    learned: RewardRecord,
    parent: str,
) -> list[Placebo]:
    """Keep placebos beside what was learned from the same answers in their true order.

    Args:
        context: the run.
        draws: policies, and what was fitted on the answers, shuffled, and shaped each.
        learned: the reward model fitted on the answers themselves.
        parent: id of the base policy.
    """
    kept = []
    for policy, fitted in draws:
        record = save_reward_model(
            fitted.model, context.rewards, learned.feature_names, learned.answer_ids,
            learned.simulated, None, context.config.fit,
        )  # fmt: skip
        policy_id = store_policy(context, policy, _KIND, parent).id
        # Written last: a draw counts once all of it is there.
        payload = {
            "id": record.id, "of": learned.id, "policy": policy_id, "simulated": learned.simulated,
        }  # fmt: skip
        context.record("reward_model", _KIND, payload, subject=record.id)
        kept.append(Placebo(policy, policy_id, fitted.model, record.id))
    return kept


def stored_placebos(context: Context) -> list[Placebo]:
    """Every draw of the placebo of the newest reward model; none where none was kept for it."""
    fitted, shaped = context.newest("reward_model", "fitted"), context.newest("policy", "shaped")
    if fitted is None or shaped is None:
        return []
    with context.store.read() as session:
        kept = {
            event.payload["id"]: event.payload["policy"]
            for event in read_events(session, "reward_model", kind=_KIND)
            if event.payload["of"] == fitted.payload["id"] and "policy" in event.payload
        }
    return [
        Placebo(
            load_policy(context.policies, policy_id)[0],
            policy_id,
            load_reward_model(context.rewards, model_id)[0],
            model_id,
        )
        for model_id, policy_id in kept.items()
    ]


def placebo_walk(
    context: Context, placebos: list[Placebo], shaped: Walk
) -> tuple[Walk, list[float]]:
    """Walk the draws over the test period, nobody refusing what their filters show.

    Each has the threshold at which it shows as much as the shaped arm does, so that it is compared
    at the same amount shown.

    Args:
        context: the run.
        placebos: from ``stored_placebos``, at least one.
        shaped: the shaped arm's walk over the same bars.

    Returns:
        The walk, whose S axis follows the draws, and their thresholds.
    """
    config, start = context.config, torch.tensor([context.test_bars.start])
    length = len(context.test_bars) - 1
    policies, models = [p.policy for p in placebos], [p.model for p in placebos]
    thresholds = matching_thresholds(
        policies, models, shown_notional(shaped, 0), context.market, start,
        length, config.costs, config.gate, None,
        capital=config.equity, generator=context.generator("reviews"),
    )  # fmt: skip
    walked = walk(
        stack_policies(policies), context.market, start, length, config.costs, config.gate,
        model=ModelDesk(RewardModel.stack(models)), thresholds=torch.tensor(thresholds),
        capital=config.equity, generator=context.generator("reviews"),
    )  # fmt: skip
    return walked, thresholds
