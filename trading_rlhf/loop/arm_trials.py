"""The arms of a demo as trials: counted in the ledger, and judged by everything in it."""

from trading_rlhf.backtest import count_trials, sharpe_significance
from trading_rlhf.loop.comparing import ARMS, Comparison
from trading_rlhf.loop.context import Context
from trading_rlhf.loop.placebo import Placebo
from trading_rlhf.loop.trial_ledger import record_walks
from trading_rlhf.loop.trial_names import desk_name, walked_trial
from trading_rlhf.types import JsonDict

__all__ = ["record_trials"]


def record_trials(context: Context, comparison: Comparison, placebos: list[Placebo]) -> JsonDict:
    """Count every arm as a trial in the ledger; PSR and DSR of each from all trials so far.

    Args:
        context: the run, which holds the base and the shaped policy.
        comparison: the arms; each draw of the placebo is a trial.
        placebos: those draws, in the walk's order.
    """
    paths = comparison.walked.log_growth[:, :, 0].exp().double().numpy() - 1.0
    names = [*ARMS[:-1], *["placebo"] * len(placebos)]
    trials = _arm_trials(context, comparison, placebos)
    with context.store.write() as session:
        record_walks(session, context, zip(names, trials, strict=True), paths.T)
        counted = count_trials(session, context.bars.bars_per_year)
    context.sign()
    return {
        arm: sharpe_significance(paths[:, index], counted.sharpes.tolist())
        for index, arm in enumerate(ARMS)
    }


def _arm_trials(
    context: Context, comparison: Comparison, placebos: list[Placebo]
) -> list[JsonDict]:
    """Names of the trials, in the walk's order; the simulated desk decides in all of them."""
    base, shaped = (context.policy(kind)[1].id for kind in ("base", "shaped"))
    stored = context.reward_model()
    model = None if stored is None else stored[1].id
    bar, desk = context.config.gate.threshold, desk_name(context)
    rows = [
        (base, None, None),
        (base, model, bar),
        (shaped, model, bar),
        (f"oracle of {base}", desk, bar),
        *(
            (placebo.policy_id, placebo.model_id, threshold)
            for placebo, threshold in zip(placebos, comparison.placebo_thresholds, strict=True)
        ),
    ]
    return [
        walked_trial(context, policy, model_id=model, threshold=threshold, decided_by=desk)
        for policy, model, threshold in rows
    ]
