"""How the challenges went, as one table and one plot."""

from pathlib import Path

import pandas as pd
import plotly.graph_objects as go

from trading_rlhf.backtest import Plot, Report, Table, write_report
from trading_rlhf.loop.context import Context
from trading_rlhf.loop.stress import Stressed, StressPlan
from trading_rlhf.loop.stress_score import Cell
from trading_rlhf.market import survivorship_note
from trading_rlhf.store import canonical_json
from trading_rlhf.store.files import replace_text

__all__ = ["stress_plot", "stress_sentences", "stress_table", "write_stress"]

_ANEW = " *"
_NOTE = (
    "Score: mean log growth per bar over the test bars, costs paid, in basis points (bp). Each "
    "cell is the share of the undisturbed score that is kept, where there is one, and the change "
    "with its standard error, from a bootstrap of draws and of blocks of bars, paired by bar. A "
    "change within two standard errors may be nothing."
)
_ANEW_NOTE = (
    f"{_ANEW.strip()} The policy's inputs or lessons change, so new policies are trained with the "
    "run's own training budget, and compared with others trained the same way without the "
    "challenge."
)
_GAIN, _LOSS, _EVEN = "#8fb3d9", "#e08a76", "#f7f7f5"


def stress_table(result: Stressed) -> pd.DataFrame:
    """One row per challenge, one column per level, as text."""
    table = pd.DataFrame(
        {level: {} for level in dict.fromkeys(cell.level for cell in result.cells)}, dtype=object
    )
    for cell in result.cells:
        table.loc[_row(cell), cell.level] = _cell_text(cell)
    table.index.name = "challenge"
    return table.fillna("")


def stress_sentences(result: Stressed) -> list[str]:
    """What the undisturbed score is worth, and which challenge costs most."""
    lines = [_reference_sentence("Undisturbed", result.undisturbed, result.hold)]
    if result.retrained is not None:
        lines.append(_reference_sentence("Trained anew", result.retrained, result.hold))
    moved = [cell for cell in result.cells if cell.hold is not None]
    for label in dict.fromkeys(cell.label for cell in moved):
        figures = [f"{c.level} {c.hold:.2f}" for c in moved if c.label == label]
        lines.append(f"Buy and hold under {label}: {', '.join(figures)} bp.")
    faults = [cell for cell in result.cells if not cell.changes_task]
    clear = [cell for cell in faults if cell.change < -2 * cell.change_error]
    if not clear:
        lines.append("No change of data or market costs two standard errors of the score or more.")
        return lines
    worst = min(clear, key=lambda cell: cell.change)
    lines.append(
        f"{len(clear)} of {len(faults)} changes of data or market cost two standard errors of the "
        f"score or more; most: {worst.label}, {worst.level} ({worst.what}): "
        f"{_change_text(worst)} bp per bar."
    )
    return lines


def stress_plot(result: Stressed) -> go.Figure:
    """Heat map of the change of score: red where it falls, pale where nothing is lost."""
    rows = list(dict.fromkeys(_row(cell) for cell in result.cells))
    levels = list(dict.fromkeys(cell.level for cell in result.cells))
    changes = pd.DataFrame(index=rows, columns=levels, dtype=float)
    hovers = pd.DataFrame("", index=rows, columns=levels)
    for cell in result.cells:
        changes.loc[_row(cell), cell.level] = cell.change
        hovers.loc[_row(cell), cell.level] = _hover_text(cell)
    limit = max([0.5, *(abs(cell.change) for cell in result.cells if not cell.changes_task)])
    figure = go.Figure(
        go.Heatmap(
            z=changes.to_numpy(),
            x=levels,
            y=rows,
            customdata=hovers.to_numpy(),
            hovertemplate="%{y}, %{x}<br>%{customdata}<extra></extra>",
            colorscale=[(0.0, _LOSS), (0.5, _EVEN), (1.0, _GAIN)],
            zmin=-limit,
            zmax=limit,
            xgap=3,
            ygap=3,
            colorbar={"title": {"text": "bp per bar"}, "thickness": 12},
        )
    )
    for cell in result.cells:
        place = {"x": cell.level, "y": _row(cell), "showarrow": False}
        figure.add_annotation(text=_plot_text(cell), yshift=9, font={"size": 14}, **place)
        figure.add_annotation(text=cell.what, yshift=-10, font={"size": 11}, **place)
    figure.update_layout(
        height=90 + 52 * len(rows),
        margin={"l": 16, "r": 16, "t": 36, "b": 16},
        plot_bgcolor="white",
        font={"size": 13, "color": "#1f2937"},
    )
    figure.update_xaxes(side="top", showgrid=False)
    figure.update_yaxes(autorange="reversed", showgrid=False, automargin=True)
    return figure


def write_stress(context: Context, plan: StressPlan, result: Stressed) -> tuple[Path, Path]:
    """Write ``stress.html`` and ``stress.json`` into the run; returns their paths."""
    page, figures = context.folder / "stress.html", context.folder / "stress.json"
    facts = {**result.to_json(), "seed": plan.seed, "kind": plan.policy, "desk": plan.desk}
    replace_text(figures, canonical_json(facts))
    write_report(_report(context, plan, result), page)
    return page, figures


def _report(context: Context, plan: StressPlan, result: Stressed) -> Report:
    dates, test = context.bars.dates, context.test_bars
    notes = _NOTE if result.retrained is None else f"{_NOTE} {_ANEW_NOTE}"
    desk = "filtered by the reward model" if plan.desk else "nobody refuses"
    return Report(
        title=f"The {plan.policy} policy under the challenges of the real world: "
        f"{context.folder.name}",
        summary=stress_sentences(result),
        warnings=[
            f"{survivorship_note(context.bars)} One path carries no profit claim. "
            "A policy that is always invested keeps the market's own rise under any fault of its "
            "data."
        ],
        tables=[Table("Score kept, and the change in bp per bar", stress_table(result), notes)],
        plots=[
            Plot(
                "What each challenge costs (change of score, bp per bar)",
                stress_plot(result),
                "In brackets: within two standard errors of nothing. Red loses, blue gains.",
            )
        ],
        facts=[
            ("Judged on", f"{dates[test.start].date()} to {dates[test.stop - 1].date()}, {desk}"),
            ("Draws", f"{plan.draws} of noise, {plan.members} policies where trained anew"),
            ("Policy", result.policy_id),
            ("Data sha256", context.bars.sha256[:16]),
            ("Seed", str(plan.seed)),
            ("Challenges", "Dulac-Arnold, Mankowitz and Hester (2019), arXiv 1904.12901"),
        ],
    )


def _row(cell: Cell) -> str:
    return cell.label + (_ANEW if cell.retrained else "")


def _change_text(cell: Cell) -> str:
    return f"{_signed(cell.change, 2)} ± {cell.change_error:.2f}"


def _signed(value: float, digits: int) -> str:
    # Rounded first: a loss too small to be shown is no minus zero.
    return f"{round(value, digits) + 0.0:+.{digits}f}"


def _kept_text(cell: Cell) -> str:
    return "" if cell.kept is None else f"{100 * cell.kept:.0f}%"


def _over_text(cell: Cell) -> str:
    return f"over in {100 * (cell.violations or 0.0):.0f}% of bars"


def _cell_text(cell: Cell) -> str:
    if cell.violations is not None:
        return _over_text(cell)
    kept = _kept_text(cell)
    return f"{kept:>5}  {_change_text(cell)}" if kept else _change_text(cell)


def _plot_text(cell: Cell) -> str:
    if cell.violations is not None:
        return _over_text(cell)
    change = f"{_signed(cell.change, 1)} bp"
    if abs(cell.change) <= 2 * cell.change_error:
        change = f"({change})"
    kept = _kept_text(cell)
    return f"keeps {kept}   {change}" if kept else change


def _hover_text(cell: Cell) -> str:
    return (
        f"{cell.what}<br>score {cell.score:+.2f} ± {cell.score_error:.2f} bp, "
        f"Sharpe {cell.sharpe:.2f}<br>trades {100 * cell.turnover:.1f}% a bar"
    )


def _reference_sentence(name: str, cell: Cell, hold: float) -> str:
    line = (
        f"{name}: {cell.score:.2f} ± {cell.score_error:.2f} bp per bar, Sharpe {cell.sharpe:.2f}; "
        f"buy and hold {hold:.2f} bp."
    )
    if not cell.is_clear:
        line += " Not two standard errors above zero: there is nothing to keep, only changes."
    return line
