"""The table that the compiled backtest reads, laid out in one compiled pass over the market."""

from trading_rlhf.backtest.kernels_accounts import Array, compiled

__all__ = ["write_table"]


@compiled
def write_table(
    opens: Array, moves: Array, fillable: Array, delisted: Array, scales: Array, dividends: Array,
    years: Array, rates: Array, yearly: Array, haircut: float, interest: tuple[float, float],
    at_fill: bool, assets: Array, lost: Array, sessions: Array,
) -> None:  # fmt: skip
    """Lay a market out; what it lacks is empty.

    Args:
        opens: ``[T, N]`` return overnight.
        moves: ``[T, N]`` return from the fill to the close.
        fillable: ``[T, N]`` bool.
        delisted: ``[T, N]`` bool, or empty.
        scales: ``[T]`` factor of costs, or empty.
        dividends: ``[T, N]`` paid overnight (fraction of the close before), or empty.
        years: ``[T]`` length of the night before (years).
        rates: ``[2, N]`` mean of the cost rates of buys and sells, and half of buys less sells.
        yearly: ``[N]`` half of what a short pays a year, less what it earns.
        haircut: what a delisting takes of a position.
        interest: margin and cash interest a year.
        at_fill: for targets of the equity at the fill.
        assets: written, as all of ``MarketTable``.
        lost: written.
        sessions: written.
    """
    n_bars, n_assets = opens.shape
    for t in range(n_bars):
        sessions[t, 0], sessions[t, 1] = years[t] * interest[0], years[t] * interest[1]
        sessions[t, 2] = 0.0
        scale = scales[t] if len(scales) else 1.0
        for n in range(n_assets):
            fills = 1.0 if fillable[t, n] else 0.0
            # Sized at the close, all but the night is counted in prices of that close.
            price = 1.0 + opens[t, n]
            unit = 1.0 if at_fill else price
            lost[t, n] = 0.0
            if len(delisted) and delisted[t, n]:
                fills, unit, sessions[t, 2] = 0.0, 0.0, 1.0
                lost[t, n] = price * haircut
            paying = fills * unit * scale
            assets[t, 0, n] = fills
            assets[t, 1, n] = unit * moves[t, n]
            assets[t, 2, n] = unit + unit * moves[t, n]
            assets[t, 3, n] = paying * rates[0, n]
            assets[t, 4, n] = paying * rates[1, n]
            # No night comes after the last close.
            night, charge = 0.0, 0.0
            if t + 1 < n_bars:
                charge = years[t + 1] * yearly[n]
                night = opens[t + 1, n] + charge
                if len(dividends):
                    night += dividends[t + 1, n]
            assets[t, 5, n] = night
            assets[t, 6, n] = charge
            assets[t, 7, n] = price
