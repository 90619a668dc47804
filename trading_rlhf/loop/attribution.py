"""Reviewer attribution: what approved, rejected and unreviewed trades would have earned."""

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from trading_rlhf.backtest import ENOUGH_ITEMS, block_length, stationary_rows
from trading_rlhf.feedback import Answer, ReviewDesk, list_accounts
from trading_rlhf.loop.context import Context
from trading_rlhf.loop.outcomes import Trades, trade_outcomes
from trading_rlhf.market import bar_close
from trading_rlhf.proposals import HORIZON, Proposal
from trading_rlhf.types import JsonDict

__all__ = ["Attribution", "attribute", "attribution_tables", "reviewed_trades"]

CONFIDENCE = 0.9
_ALL = "all"
_DRAWS = 1000
_DRAWS_AT_ONCE = 250
_FEWEST_BARS = 5 * HORIZON
_SAME_WEIGHT = 1e-9
_GROUPS = {"approve": "approved", "resize": "approved", "reject": "rejected"}
_SOURCES = ("human", "simulated")


@dataclass(frozen=True)
class Attribution:
    """Forward profit of reviewed trades, measured after the fact.

    Every trade stands alone at the same fills and costs, over 20 sessions or to the end of the
    data. Means are profit over notional, so a resize counts at the reviewer's weight. Intervals
    hold 90% of means over resampled blocks of decision bars, at least 20 bars long on average
    because outcomes overlap for as long.

    Attributes:
        table: one row per source, reviewer and group: source ("human", "simulated", or "nobody"
            for what was not reviewed), reviewer ("all" or an account's name), group ("approved",
            "rejected", "cannot tell", "unreviewed"), items, bps (mean, NaN where there is not
            enough), low, high and note.
        differences: approved less rejected, by source and reviewer: approved and rejected (items),
            bps, low, high, p_value (two-sided) and note.
        items: what the tables rest on: source, reviewer, group, proposal, bar, date, symbol,
            change and notional and profit (fractions of equity), bps.
        sentences: ``differences`` in words.
        left_out: number of proposals or answers that count nowhere, by reason.
    """

    table: pd.DataFrame
    differences: pd.DataFrame
    items: pd.DataFrame
    sentences: tuple[str, ...]
    left_out: dict[str, int]

    def to_json(self) -> JsonDict:
        """JSON-ready dict of everything but the single items; what is not known is None."""

        def rows(table: pd.DataFrame) -> list[JsonDict]:
            found: list[JsonDict] = json.loads(table.to_json(orient="records", double_precision=15))
            return found

        return {
            "table": rows(self.table),
            "differences": rows(self.differences),
            "sentences": list(self.sentences),
            "left_out": dict(self.left_out),
        }


def attribute(context: Context, generator: torch.Generator | None = None) -> Attribution:
    """Measure what reviewers approved, rejected and never saw in a run.

    Answers of uncertified reviewers, of reviewers who had seen later bars, and to practice items
    do not count. A resize to no trade is a rejection of the trade as proposed.

    Args:
        context: the run.
        generator: draws the blocks; None takes the run's.
    """
    items, left_out = reviewed_trades(context)
    source = context.generator("attribution") if generator is None else generator
    table, differences = attribution_tables(items, source)
    sentences = tuple(_sentence(row) for _, row in differences.iterrows())
    return Attribution(table, differences, items, sentences, left_out)


def reviewed_trades(context: Context) -> tuple[pd.DataFrame, dict[str, int]]:
    """Every answer that counts and every proposal nobody answered, with what the trade came to.

    Returns:
        Items as ``Attribution.items``, and how many were left out, by reason.
    """
    left_out: Counter[str] = Counter()
    rows = [
        (proposal, target, labels)
        for proposal, target, labels in _judged(context, left_out)
        if _measurable(context, proposal, left_out)
    ]
    names = ["source", "reviewer", "group"]
    if not rows:
        columns = [*names, "proposal", "bar", "date", "symbol", "change", "notional", "profit"]
        return pd.DataFrame(columns=[*columns, "bps"]), dict(left_out)
    proposals = [proposal for proposal, _, _ in rows]
    trades = _as_trades(context, proposals, [target for _, target, _ in rows])
    config = context.config
    outcomes = trade_outcomes(context.market, trades, config.costs, config.gate.delay)
    items = pd.DataFrame([labels for _, _, labels in rows], columns=names)
    items["proposal"] = [p.id for p in proposals]
    items["bar"] = [p.bar for p in proposals]
    items["date"] = context.bars.dates[items["bar"]]
    items["symbol"] = [p.symbol for p in proposals]
    items["change"] = trades.change.numpy()
    items["notional"] = outcomes.notional.numpy()
    items["profit"] = outcomes.profit.numpy()
    filled = items["notional"] > 0
    left_out["not filled"] += int((~filled).sum())
    items = items[filled].reset_index(drop=True)
    items["bps"] = 1e4 * items["profit"] / items["notional"]
    return items, {reason: count for reason, count in left_out.items() if count}


def attribution_tables(
    items: pd.DataFrame, generator: torch.Generator
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Means by group and reviewer, and approved less rejected.

    Args:
        items: with source, reviewer, group, bar, profit and notional.
        generator: draws the blocks.

    Returns:
        ``Attribution.table`` and ``Attribution.differences``.
    """
    chosen = _selections(items)
    resampled = _resampled_means(items, [rows for _, _, _, rows in chosen], generator)
    table, found = [], {}
    for index, (source, reviewer, group, rows) in enumerate(chosen):
        part = items[rows]
        note = _shortage(part)
        known = not note
        mean = 1e4 * part["profit"].sum() / part["notional"].sum() if known else torch.nan
        low, high = _bounds(resampled[:, index]) if known else (torch.nan, torch.nan)
        table.append([source, reviewer, group, len(part), mean, low, high, note])
        found[source, reviewer, group] = (len(part), mean, note, resampled[:, index])
    columns = ["source", "reviewer", "group", "items", "bps", "low", "high", "note"]
    pairs = dict.fromkeys((s, r) for s, r, _, _ in chosen if s in _SOURCES)
    nothing = (0, torch.nan, f"not enough: 0 of {ENOUGH_ITEMS} trades", torch.empty(0))
    differences = [
        [s, r, *_difference(*(found.get((s, r, g), nothing) for g in ("approved", "rejected")))]
        for s, r in pairs
    ]
    names = ["source", "reviewer", "approved", "rejected", "bps", "low", "high", "p_value", "note"]
    return pd.DataFrame(table, columns=columns), pd.DataFrame(differences, columns=names)


def _judged(
    context: Context, left_out: Counter[str]
) -> list[tuple[Proposal, float, tuple[str, str, str]]]:
    """Proposals with the weight and (source, reviewer, group) of each answer, or of nobody."""
    desk = ReviewDesk(context.store, context.clock)
    names = {account.id: account.name for account in list_accounts(context.store)}
    proposals = {p.id: p for p in desk.proposals() if p.mode != "practice"}
    found, answered = [], set()
    for answer in desk.standing_answers():
        if answer.proposal_id not in proposals:
            left_out["answer to a practice item"] += 1
            continue
        answered.add(answer.proposal_id)
        if answer.hindsight or not answer.certified:
            left_out["hindsight" if answer.hindsight else "reviewer not certified"] += 1
            continue
        proposal = proposals[answer.proposal_id]
        target, group = _verdict(proposal, answer)
        source = _SOURCES[answer.simulated]
        labels = (source, names.get(answer.reviewer, answer.reviewer), group)
        found.append((proposal, target, labels))
    found += [
        (proposal, proposal.target, ("nobody", "", "unreviewed"))
        for name, proposal in proposals.items()
        if name not in answered
    ]
    return found


def _verdict(proposal: Proposal, answer: Answer) -> tuple[float, str]:
    """The weight an answer is about, and its group."""
    resized = answer.resized_to
    if resized is not None and abs(resized - proposal.held) <= _SAME_WEIGHT:
        return proposal.target, "rejected"
    target = proposal.target if resized is None else resized
    return target, _GROUPS.get(answer.verdict, "cannot tell")


def _measurable(context: Context, proposal: Proposal, left_out: Counter[str]) -> bool:
    """Whether the run's bars hold the decision's bar and one after it."""
    bars, t = context.bars, proposal.bar
    same = (
        set(proposal.portfolio) <= set(bars.symbols)
        and t < len(bars.dates)
        and bar_close(bars, t) == proposal.known_at
    )
    if not same:
        left_out["made on other bars"] += 1
        return False
    # A review delay may put the fill beyond the data.
    later = t + context.config.gate.delay + 1 < len(bars.dates)
    left_out["no later bar"] += not later
    return later


def _as_trades(context: Context, proposals: list[Proposal], targets: list[float]) -> Trades:
    symbols = context.bars.symbols

    def money(values: list[float] | list[list[float]]) -> Tensor:
        return torch.tensor(values, dtype=context.market.overnight.dtype)

    return Trades(
        t=torch.tensor([p.bar for p in proposals]),
        asset=torch.tensor([symbols.index(p.symbol) for p in proposals]),
        held=money([[p.portfolio.get(symbol, 0.0) for symbol in symbols] for p in proposals]),
        change=money([target - p.held for p, target in zip(proposals, targets, strict=True)]),
        equity=money([p.equity for p in proposals]),
    )


def _selections(items: pd.DataFrame) -> list[tuple[str, str, str, "pd.Series[bool]"]]:
    """Rows of the table: people before simulated reviewers, all before each, nobody last."""
    found = []
    for source in (*_SOURCES, "nobody"):
        own = items["source"] == source
        each = sorted(items.loc[own, "reviewer"].unique())
        for reviewer in [_ALL, *each] if source in _SOURCES else each:
            of = own if reviewer == _ALL else own & (items["reviewer"] == reviewer)
            for group in ("approved", "rejected", "cannot tell", "unreviewed"):
                rows = of & (items["group"] == group)
                if rows.any():
                    found.append((source, reviewer, group, rows))
    return found


def _resampled_means(
    items: pd.DataFrame, chosen: list["pd.Series[bool]"], generator: torch.Generator
) -> Tensor:
    """Means ``[draws, rows]`` (bps) over resampled bars, the same bars for every row.

    A bar brings all that was decided at its close; NaN where a history holds none of a row.
    """
    if not chosen:
        return torch.empty(_DRAWS, 0)
    bar = torch.tensor((items["bar"] - items["bar"].min()).to_numpy(dtype="int64"))
    n_bars = int(bar.max()) + 1
    mask = torch.from_numpy(np.stack([rows.to_numpy(dtype="float64") for rows in chosen]))
    sums = [
        torch.zeros(len(chosen), n_bars, dtype=torch.float64).index_add(
            1, bar, mask * torch.tensor(items[name].to_numpy(dtype="float64"))
        )
        for name in ("profit", "notional")
    ]
    block = float(HORIZON)
    if n_bars >= _FEWEST_BARS:
        together = torch.zeros(n_bars, dtype=torch.float64).index_add(
            0, bar, torch.tensor(items["profit"].to_numpy(dtype="float64"))
        )
        block = max(block, block_length(together.numpy()))
    parts = []
    for begin in range(0, _DRAWS, _DRAWS_AT_ONCE):
        rows = stationary_rows(n_bars, min(_DRAWS_AT_ONCE, _DRAWS - begin), block, generator)
        times = torch.zeros(rows.shape, dtype=torch.float64)
        times.scatter_add_(1, rows, torch.ones_like(times))
        parts.append((times @ sums[0].T) / (times @ sums[1].T))
    return 1e4 * torch.cat(parts)


def _shortage(part: pd.DataFrame) -> str:
    """Why a mean of these items would say nothing; empty where it says something."""
    if len(part) < ENOUGH_ITEMS:
        return f"not enough: {len(part)} of {ENOUGH_ITEMS} trades"
    span = int(part["bar"].max() - part["bar"].min()) + 1
    if span < _FEWEST_BARS:
        return f"not enough: decided within {span} bars, of {_FEWEST_BARS}"
    return ""


def _difference(
    approved: tuple[int, float, str, Tensor], rejected: tuple[int, float, str, Tensor]
) -> list[int | float | str]:
    counts: list[int | float | str] = [approved[0], rejected[0]]
    if approved[2] or rejected[2]:
        reasons = [
            f"{name}: {x[2]}"
            for name, x in (("approved", approved), ("rejected", rejected))
            if x[2]
        ]
        return [*counts, *[torch.nan] * 4, "; ".join(reasons)]
    difference = approved[1] - rejected[1]
    drawn = approved[3] - rejected[3]
    drawn = drawn[~drawn.isnan()]
    as_far = (drawn - difference).abs() >= abs(difference)
    p_value = (1 + int(as_far.sum())) / (1 + len(drawn))
    return [*counts, difference, *_bounds(drawn), p_value, ""]


def _bounds(drawn: Tensor) -> tuple[float, float]:
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = drawn.nanquantile(torch.tensor([tail, 1.0 - tail], dtype=drawn.dtype)).tolist()
    return low, high


def _sentence(row: "pd.Series[Any]") -> str:
    everyone = {"human": "All reviewers", "simulated": "All simulated reviewers"}
    kind = " (simulated)" if row["source"] == "simulated" else ""
    who = everyone[row["source"]] if row["reviewer"] == _ALL else f"{row['reviewer']}{kind}"
    if row["note"]:
        return f"{who}: {row['note']}."
    word = "more" if row["bps"] >= 0 else "less"
    text = (
        f"{who}: what was approved earned {abs(row['bps']):.0f} bps of notional {word} than what "
        f"was rejected (90% interval {row['low']:.0f} to {row['high']:.0f}, "
        f"p {row['p_value']:.3f})"
    )
    clear = row["p_value"] < 1.0 - CONFIDENCE
    return f"{text}." if clear else f"{text}: not distinguishable from no difference."
