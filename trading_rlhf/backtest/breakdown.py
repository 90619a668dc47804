"""A backtest by year, by regime and by asset, and its measures against a benchmark."""

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from trading_rlhf.accounting import (
    alpha,
    annual_volatility,
    beta,
    calmar_ratio,
    conditional_value_at_risk,
    drawdown_length,
    hit_rate,
    max_drawdown,
    per_bar_returns,
    sharpe_ratio,
    sortino_ratio,
)
from trading_rlhf.backtest.flows import NOTHING, Conditions, Flows
from trading_rlhf.errors import AccountingError
from trading_rlhf.market import carry_forward
from trading_rlhf.types import FloatArray

__all__ = [
    "REGIMES",
    "asset_table",
    "benchmark_returns",
    "further_measures",
    "hold_equity",
    "split_table",
    "volatility_regimes",
]

REGIMES = ("unknown", "calm", "normal", "turbulent")


def hold_equity(conditions: Conditions) -> FloatArray:
    """Equity ``[T]`` of equal weights, bought at the first close and held, free of costs.

    Each asset gets its part at the start; it is cash until the asset has a price, and again, less
    the haircut, when the asset is delisted.
    """
    bars, market = conditions.bars, conditions.market
    close = carry_forward(np.where(bars.tradable, bars.close, np.nan))
    first = np.take_along_axis(close, np.isfinite(close).argmax(0)[None], 0)
    worth = np.where(np.isfinite(close), close / first, 1.0)
    if market.delisted is not None:
        gone = np.maximum.accumulate(market.delisted.cpu().numpy(), axis=0)
        last = np.take_along_axis(worth, gone.argmax(0)[None], 0)
        worth = np.where(gone, last * (1.0 - conditions.costs.delisting_haircut), worth)
    curve: FloatArray = np.nan_to_num(worth, nan=1.0).mean(1)
    return curve


def benchmark_returns(benchmark: npt.ArrayLike | None, conditions: Conditions) -> Tensor:
    """Returns ``[T - 1]`` of a benchmark.

    Args:
        benchmark: equity ``[T]``, one number at each close, or returns ``[T - 1]``; None holds
            equal weights (``hold_equity``).
        conditions: what was run on.

    Raises:
        AccountingError: another length, numbers that are not finite, or equity that is not
            positive.
    """
    n_bars = conditions.bars.shape[0]
    try:
        given = np.asarray(hold_equity(conditions) if benchmark is None else benchmark, np.float64)
    except (TypeError, ValueError) as error:
        raise AccountingError(
            "a benchmark must be an array of numbers", str(error), "Pass a float array."
        ) from error
    is_equity = given.shape == (n_bars,)
    if not is_equity and given.shape != (n_bars - 1,):
        raise AccountingError(
            f"a benchmark must be equity at {n_bars} closes or {n_bars - 1} returns",
            f"shape {given.shape}",
            "Cut it to the dates of the backtest.",
        )
    if not np.isfinite(given).all() or (is_equity and (given <= 0).any()):
        raise AccountingError(
            "a benchmark must be finite, and positive where it is equity",
            f"{given[~np.isfinite(given) | (given <= 0)][0]}",
            "Correct it, or pass one return less than there are closes.",
        )
    series = torch.tensor(given)
    return per_bar_returns(series) if is_equity else series


def further_measures(
    equity: FloatArray, benchmark: Tensor, bars_per_year: float
) -> dict[str, FloatArray]:
    """Measures ``[B]`` that need the whole curve: calmar, drawdown_length, cvar, alpha and beta.

    Args:
        equity: ``[B, T]``.
        benchmark: returns ``[T - 1]``.
        bars_per_year: bars in a year.
    """
    curves = torch.as_tensor(equity)
    returns = per_bar_returns(curves)
    columns = {
        "calmar": calmar_ratio(curves, bars_per_year),
        "drawdown_length": drawdown_length(curves),
        "cvar": conditional_value_at_risk(returns),
        "alpha": alpha(returns, benchmark, bars_per_year),
        "beta": beta(returns, benchmark),
    }
    return {name: column.numpy() for name, column in columns.items()}


def volatility_regimes(returns: FloatArray, lookback: int = 21, warm_up: int = 126) -> list[str]:
    """Regime of each bar, known at the close before it.

    The volatility of the last returns is ranked among all its values so far: the lowest third is
    calm, the highest turbulent.

    Args:
        returns: ``[T - 1]`` per-bar returns of a benchmark.
        lookback: returns in a volatility; a month of sessions.
        warm_up: volatilities before one is ranked; half a year. Until then a bar is unknown.

    Returns:
        T names out of ``REGIMES``; the one of bar t rests on returns up to bar t - 1.
    """
    volatility = pd.Series(returns).rolling(lookback).std()
    rank = volatility.expanding(warm_up).rank(pct=True).to_numpy()
    known = np.isfinite(rank)
    third = np.ceil(np.where(known, rank, 0.0) * 3.0 - 1e-9).astype(int)
    # Return k is that of bar k + 1; what is known with it names bar k + 2.
    names = np.asarray(REGIMES)[np.where(known, third, 0)]
    return ["unknown", "unknown", *names[:-1].tolist()]


def split_table(
    labels: npt.ArrayLike,
    equity: FloatArray,
    weights: FloatArray,
    filled: FloatArray,
    costs: FloatArray,
    bars_per_year: float,
    name: str,
) -> pd.DataFrame:
    """Measures of the bars of each label, as though the others had not been.

    Args:
        labels: ``[T]``, one for each bar; the first bar has no return and is left out.
        equity: ``[B, T]``.
        weights: ``[B, T, N]`` at the close (fraction of equity).
        filled: ``[B, T, N]`` filled in each session (fraction of equity at the fill).
        costs: ``[B, T]`` of trades (fraction of equity).
        bars_per_year: bars in a year.
        name: of the label's index level.

    Returns:
        One row per strategy and label: bars, total_return, volatility, sharpe, sortino,
        max_drawdown, turnover, cost, exposure and hit_rate, as ``measure`` has them.
    """
    codes, groups = pd.factorize(np.asarray(labels)[1:], sort=True)
    returns = per_bar_returns(torch.as_tensor(equity))
    gross = torch.as_tensor(np.abs(weights[:, 1:]).sum(-1))
    turned = torch.as_tensor(np.abs(filled[:, 1:]).sum(-1))
    paid = torch.as_tensor(costs[:, 1:])
    parts = {}
    for code, group in enumerate(groups):
        chosen = torch.from_numpy(codes == code)
        part = returns[:, chosen]
        curve = torch.cat([torch.ones_like(part[:, :1]), (1.0 + part).cumprod(-1)], -1)
        # One return has no deviation.
        some = part.shape[-1] > 1
        none = torch.full_like(part[:, 0], torch.nan)
        columns = {
            "bars": torch.full_like(none, part.shape[-1]).long(),
            "total_return": curve[:, -1] - 1.0,
            "volatility": annual_volatility(part, bars_per_year) if some else none,
            "sharpe": sharpe_ratio(part, bars_per_year) if some else none,
            "sortino": sortino_ratio(part, bars_per_year),
            "max_drawdown": max_drawdown(curve),
            "turnover": turned[:, chosen].mean(-1),
            "cost": paid[:, chosen].mean(-1) * bars_per_year,
            "exposure": gross[:, chosen].mean(-1),
            "hit_rate": hit_rate(part, gross[:, chosen] > 1e-9),
        }
        parts[group] = pd.DataFrame({key: column.numpy() for key, column in columns.items()})
    table: pd.DataFrame = pd.concat(parts, names=[name, "strategy"]).swaplevel()
    return table.sort_index(level="strategy", sort_remaining=False)


def asset_table(symbols: tuple[str, ...], flows: Flows, weights: FloatArray) -> pd.DataFrame:
    """What each asset added to the total return.

    Args:
        symbols: N assets.
        flows: the money.
        weights: ``[B, T, N]`` at the close (fraction of equity).

    Returns:
        One row per strategy and symbol: contribution (fraction of the starting equity, after
        trading costs), gains (before them, dividends included), costs, turnover (orders' value a
        bar over the starting equity), exposure (mean absolute weight) and held (share of bars).
        Rows "interest and fees" and, where an account was ruined, "loss beyond the equity" make the
        contributions add up to the total return.
    """
    sessions = weights.shape[1] - 1
    gains, costs = flows.gains.sum(1), flows.costs.sum(1)
    columns = {
        "contribution": gains - costs,
        "gains": gains,
        "costs": costs,
        "turnover": np.abs(flows.traded).sum(1) / sessions,
        "exposure": np.abs(weights).mean(1),
        "held": (np.abs(weights[:, 1:]) > NOTHING).mean(1),
    }
    rest = {"interest and fees": -flows.interest.sum(1)}
    if flows.forgiven.any():
        rest["loss beyond the equity"] = flows.forgiven.sum(1)
    added = np.stack(list(rest.values()), -1)
    wide = {
        name: np.hstack([column, added if name == "contribution" else np.full_like(added, np.nan)])
        for name, column in columns.items()
    }
    index = pd.MultiIndex.from_product(
        [range(len(weights)), [*symbols, *rest]], names=["strategy", "asset"]
    )
    return pd.DataFrame({name: column.ravel() for name, column in wide.items()}, index=index)
