"""What makes a trial the one that it is: the same strategy is counted once, whoever looks at it."""

from trading_rlhf.config import RunConfig, read_config
from trading_rlhf.loop.context import Context
from trading_rlhf.loop.sweep_grid import Cell, Grid, make_cells
from trading_rlhf.types import JsonDict

__all__ = ["NOBODY", "base_trial", "cell_trial", "desk_name", "given_trial", "walked_trial"]

NOBODY = "nobody"
"""Stands for the decider where whatever is shown is executed."""


def cell_trial(cell: Cell) -> JsonDict:
    """Of a sweep's cell: its key holds settings, seed and bars, as far as they change a figure."""
    return {"cell": cell.key}


def base_trial(context: Context, policy_id: str) -> JsonDict:
    """Of the base policy without filter or desk: that of the cell with the run's own settings.

    Settings that were changed after the training name no cell, for there they would hold in
    training too: the policy's id stands for what it was trained from.
    """
    file = context.folder / "config.yaml"
    trained = _own_cell(context, read_config(file if file.is_file() else None, {}))
    tested = _own_cell(context, context.config)
    if not file.is_file() or trained.training == tested.training:
        return cell_trial(tested)
    return walked_trial(context, policy_id)


def walked_trial(
    context: Context,
    policy: str | JsonDict,
    *,
    model_id: str | None = None,
    threshold: float | None = None,
    decided_by: str = NOBODY,
) -> JsonDict:
    """Of a policy that is walked over the run's test bars.

    Args:
        context: the run.
        policy: id of a stored one, which is a hash of its weights; or what it was made from.
        model_id: reward model that filters what is shown; None shows everything.
        threshold: of that filter.
        decided_by: who answers what is shown, with what makes those answers.
    """
    return {
        "policy": policy,
        "filter": model_id,
        "threshold": threshold,
        "decided_by": decided_by,
        **_rules(context),
    }


def desk_name(context: Context) -> str:
    """The run's simulated desk as a decider: what it likes is all that its probabilities hold."""
    return f"simulated desk: {context.config.desk.style}"


def given_trial(context: Context, name: str) -> JsonDict:
    """Of orders that no policy made, by what they are: buy and hold, what people approved."""
    return {"orders": name, **_rules(context)}


def _rules(context: Context) -> JsonDict:
    """Everything else that a walk over the test bars reads."""
    config, dates, test = context.config, context.bars.dates, context.test_bars
    gate = config.gate.model_dump(mode="json", exclude={"slope", "threshold"})
    return {
        "costs": config.costs.model_dump(mode="json"),
        "gate": gate,
        "max_gross": config.policy.max_gross,
        # The size of the account matters to costs in USD only.
        "equity": config.equity if config.costs.needs_equity else None,
        "bars": [dates[test.start].isoformat(), dates[test.stop - 1].isoformat()],
    }


def _own_cell(context: Context, config: RunConfig) -> Cell:
    (cell,) = make_cells(Grid("own", {}, ()), config, context.bars.sha256)
    return cell
