"""Orders, trades and positions of a backtest as tables, in USD.

A position runs from flat to flat, or to the other side. A trade closes a part of it, or all of it,
at the average price of its entries; what is open after the last bar is a trade marked there.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd

from trading_rlhf.backtest.flows import (
    NOTHING,
    Conditions,
    Flows,
    printed_prices,
    unit_prices,
)
from trading_rlhf.types import FloatArray

__all__ = ["order_table", "position_table", "trade_table"]

_KINDS = ("order", "delisting", "ruin")


def order_table(conditions: Conditions, flows: Flows) -> pd.DataFrame:
    """One row for each fill of an order, and for each closing by delisting or ruin.

    Columns are strategy, symbol, ordered_on (close of the decision), filled_on, kind, side, weight
    (fraction of equity at the fill), shares, price (as printed), paid_price (with all costs), value
    and cost. Shares and prices are those of the day.
    """
    price, close = printed_prices(conditions.bars)
    layers = [(flows.traded, price), (flows.forced, price), (flows.ended, close)]
    parts = []
    for layer, (values, printed) in enumerate(layers):
        strategy, bar, asset = values.nonzero()
        parts.append(
            pd.DataFrame(
                {
                    "strategy": strategy,
                    "bar": bar,
                    "asset": asset,
                    "layer": layer,
                    "value": values[strategy, bar, asset],
                    "price": printed[bar, asset],
                    # What ruin closes after the fill costs nothing more.
                    "cost": flows.costs[strategy, bar, asset] * (layer < 2),
                    "equity": flows.equity_at_fill[strategy, bar],
                }
            )
        )
    rows = pd.concat([part for part in parts if len(part)] or parts[:1])
    order = np.lexsort([rows["layer"], rows["asset"], rows["bar"], rows["strategy"]])
    return _named_orders(conditions, rows.iloc[order].reset_index(drop=True))


def _named_orders(conditions: Conditions, rows: pd.DataFrame) -> pd.DataFrame:
    bars, usd = conditions.bars, conditions.equity_usd
    value, size = rows["value"], rows["value"].abs()
    is_order, alive = rows["layer"] == 0, rows["equity"] > 0
    kind = np.where(is_order, 0, np.where((rows["layer"] == 1) & alive, 1, 2))
    decided = (rows["bar"] - 1 - conditions.delay).clip(lower=0).to_numpy()
    return pd.DataFrame(
        {
            "strategy": rows["strategy"],
            "symbol": _named(rows["asset"], bars.symbols),
            "ordered_on": pd.Series(bars.dates[decided]).where(is_order),
            "filled_on": bars.dates[rows["bar"].to_numpy()],
            "kind": _named(kind, _KINDS),
            "side": _named(value < 0, ("buy", "sell")),
            "weight": value / rows["equity"].where(alive),
            "shares": size * usd / rows["price"],
            "price": rows["price"],
            "paid_price": rows["price"] * (1.0 + np.sign(value) * rows["cost"] / size),
            "value": value * usd,
            "cost": rows["cost"] * usd,
        }
    )


def _named(codes: npt.ArrayLike, names: tuple[str, ...]) -> "pd.Categorical[str]":
    return pd.Categorical.from_codes(np.asarray(codes, np.intp), pd.Index(names))


def trade_table(conditions: Conditions, flows: Flows, weights: FloatArray) -> pd.DataFrame:
    """One row for each closing of a position, or of a part of it.

    Columns are strategy, symbol, side, entered_on (the position's first entry), exited_on, shares,
    entry_price, exit_price, costs (of the exit, and its part of the entries'), dividends, profit
    (after both), return (on the entry's value), bars and open. Prices and shares are those of the
    exit's day: the entry is restated for splits and, where returns include them, dividends. So
    profit is shares times the difference of prices, plus dividends, less costs.

    Args:
        conditions: what was run on.
        flows: the money.
        weights: ``[B, T, N]`` at the close (fraction of equity).
    """
    rows = _closings(conditions, flows, weights)
    order = np.lexsort([rows["asset"], rows["bar"], rows["strategy"]])
    return _named_trades(conditions, rows.iloc[order].reset_index(drop=True))


def position_table(conditions: Conditions, flows: Flows, weights: FloatArray) -> pd.DataFrame:
    """One row for each position, from its first entry to its last exit.

    Columns are those of ``trade_table``, summed and averaged over its trades, and how many trades
    there were; shares are all that were ever entered.
    """
    rows = _closings(conditions, flows, weights)
    groups = rows.groupby(["strategy", "entered", "asset", "side"], sort=False)
    sums = groups[["units", "entry", "exit", "costs", "dividends"]].sum()
    last = groups[["bar", "open", "unit_price", "price"]].last()
    joined = sums.join(last).join(groups.size().rename("trades")).reset_index()
    order = np.lexsort([joined["asset"], joined["entered"], joined["strategy"]])
    joined = joined.iloc[order].reset_index(drop=True)
    return _named_trades(conditions, joined).assign(trades=joined["trades"])


def _named_trades(conditions: Conditions, rows: pd.DataFrame) -> pd.DataFrame:
    bars, usd = conditions.bars, conditions.equity_usd
    # A share of the exit's day in units of the ledger.
    shares = rows["units"].abs() * rows["unit_price"] / rows["price"]
    profit = rows["exit"] - rows["entry"] + rows["dividends"] - rows["costs"]
    return pd.DataFrame(
        {
            "strategy": rows["strategy"],
            "symbol": _named(rows["asset"], bars.symbols),
            "side": _named(rows["side"] < 0, ("long", "short")),
            "entered_on": bars.dates[rows["entered"].to_numpy()],
            "exited_on": bars.dates[rows["bar"].to_numpy()],
            "shares": shares * usd,
            "entry_price": rows["entry"].abs() / shares,
            "exit_price": rows["exit"].abs() / shares,
            "costs": rows["costs"] * usd,
            "dividends": rows["dividends"] * usd,
            "profit": profit * usd,
            "return": profit / rows["entry"].abs(),
            "bars": rows["bar"] - rows["entered"],
            "open": rows["open"],
        }
    )


def _closings(conditions: Conditions, flows: Flows, weights: FloatArray) -> pd.DataFrame:
    """Every closing by cell and bar; money in units of the starting equity."""
    price, close = printed_prices(conditions.bars)
    unit_price, unit_close = unit_prices(conditions.market)
    n_strategies, n_bars, n_assets = weights.shape
    books = _Books(n_strategies * n_assets)
    pays = bool(flows.dividends.any())
    for bar in range(1, n_bars):
        traded, forced, ended = (
            x[:, bar].ravel() for x in (flows.traded, flows.forced, flows.ended)
        )
        if pays:
            books.dividends += flows.dividends[:, bar].ravel()
        cells = np.flatnonzero((traded != 0) | (forced != 0))
        asset = cells % n_assets
        fresh = books.units[cells] + traded[cells] / unit_price[bar, asset]
        flat = (np.abs(weights[:, bar].ravel()[cells]) <= NOTHING) & (ended[cells] == 0)
        fresh = np.where(flat | (forced[cells] != 0), 0.0, fresh)
        costs = flows.costs[:, bar].ravel()[cells]
        books.trade(bar, cells, fresh, costs, unit_price[bar, asset], price[bar, asset])
        cells = np.flatnonzero(ended)
        asset = cells % n_assets
        free = np.zeros(len(cells))
        books.trade(bar, cells, free, free, unit_close[bar, asset], close[bar, asset])
    cells = np.flatnonzero(books.units)
    asset, free = cells % n_assets, np.zeros(len(cells))
    last = n_bars - 1
    books.trade(last, cells, free, free, unit_close[last, asset], close[last, asset], is_open=True)
    rows = pd.DataFrame({name: np.concatenate(x) for name, x in books.closed.items()})
    return rows.assign(strategy=rows["cell"] // n_assets, asset=rows["cell"] % n_assets)


class _Books:
    """Positions ``[cells]`` at average cost, and every closing so far."""

    def __init__(self, n_cells: int) -> None:
        self.units = np.zeros(n_cells)
        self.basis = np.zeros(n_cells)
        self.costs = np.zeros(n_cells)
        self.dividends = np.zeros(n_cells)
        self.entered = np.zeros(n_cells, dtype=np.intp)
        names = (
            "cell", "bar", "entered", "side", "units", "entry", "exit", "costs", "dividends",
            "unit_price", "price", "open",
        )  # fmt: skip
        self.closed: dict[str, list[npt.NDArray[np.generic]]] = {name: [] for name in names}

    def trade(
        self,
        bar: int,
        cells: npt.NDArray[np.intp],
        units: FloatArray,
        costs: FloatArray,
        unit_price: FloatArray,
        price: FloatArray,
        is_open: bool = False,
    ) -> None:
        """Bring cells to new units at a price; orders that cross zero close first, then open."""
        before = self.units[cells]
        change = units - before
        moved = change != 0
        reduces = change * before < 0
        closing = np.where(reduces, np.sign(change) * np.minimum(abs(change), abs(before)), 0.0)
        part = np.divide(-closing, before, out=np.zeros(len(cells)), where=reduces)
        # Of the order's costs, what belongs to the closing.
        of_exit = np.divide(closing, change, out=np.zeros(len(cells)), where=moved) * costs
        held_costs, dividends = self.costs[cells] * part, self.dividends[cells] * part
        basis = self.basis[cells] * part
        record = {
            "cell": cells, "bar": np.full(len(cells), bar), "entered": self.entered[cells],
            "side": np.sign(before), "units": -closing, "entry": basis,
            "exit": -closing * unit_price, "costs": held_costs + of_exit, "dividends": dividends,
            "unit_price": unit_price, "price": price, "open": np.full(len(cells), is_open),
        }  # fmt: skip
        for name, column in record.items():
            self.closed[name].append(column[reduces])
        opens = (units != 0) & (before * units <= 0)
        self.entered[cells] = np.where(opens, bar, self.entered[cells])
        self.units[cells] = units
        self.basis[cells] += (change - closing) * unit_price - basis
        self.costs[cells] += costs - of_exit - held_costs
        self.dividends[cells] -= dividends
