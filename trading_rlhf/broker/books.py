"""The books of the embedded account: equity, weights, and what they mean in shares and cash."""

from dataclasses import asdict, dataclass

from trading_rlhf.types import JsonDict

__all__ = ["Books", "average_entry"]

# Weights this small are what rounding leaves of a closed position.
_DUST = 1e-14


@dataclass(frozen=True)
class Books:
    """An account at a close. Money is USD, prices are as traded.

    The law moves weights and equity; shares and cash follow from them. Because its returns are
    adjusted for dividends, a dividend is reinvested on its ex date (and charged to a short), so
    the shares of a position grow a little that day, as they double on a two-for-one split.

    Attributes:
        session: date of the last session settled, None before the first.
        equity: account value.
        previous_equity: account value one session earlier.
        weights: fraction of equity, signed, by symbol.
        prices: last close of each symbol held.
        entries: average price at which each open position was entered, spread and slippage
            included, restated for splits and dividends since.
    """

    session: str | None
    equity: float
    previous_equity: float
    weights: dict[str, float]
    prices: dict[str, float]
    entries: dict[str, float]

    @classmethod
    def opened(cls, cash: float) -> "Books":
        """Return the books of a new account that holds cash alone."""
        return cls(None, cash, cash, {}, {}, {})

    @property
    def cash(self) -> float:
        """Equity less the value of all positions; negative on margin."""
        return self.equity * (1.0 - sum(self.weights.values()))

    @property
    def shares(self) -> dict[str, float]:
        """Shares held, signed, by symbol."""
        return {
            name: weight * self.equity / self.prices[name] for name, weight in self.weights.items()
        }

    def after(
        self,
        session: str,
        equity: float,
        weights: dict[str, float],
        prices: dict[str, float],
        entries: dict[str, float],
    ) -> "Books":
        """Return the books one session later; closed positions drop out."""
        held = {name: weight for name, weight in weights.items() if abs(weight) > _DUST}
        return Books(
            session=session,
            equity=equity,
            previous_equity=self.equity,
            weights=held,
            prices={name: prices[name] for name in held},
            entries={name: entries[name] for name in held},
        )

    def to_json(self) -> JsonDict:
        """Return a JSON-ready dict with cash and shares for the reader."""
        return asdict(self) | {"cash": self.cash, "shares": self.shares}

    @classmethod
    def from_json(cls, data: JsonDict) -> "Books":
        """Read what ``to_json`` wrote, bit for bit; cash and shares are computed again."""
        return cls(**{key: value for key, value in data.items() if key not in ("cash", "shares")})


def average_entry(entry: float | None, before: float, traded: float, price: float) -> float:
    """Return the average entry price of a position after a trade.

    Args:
        entry: average entry so far, None when flat (USD).
        before: shares held before the trade (signed).
        traded: shares traded (signed).
        price: price of the trade (USD).
    """
    after = before + traded
    if entry is None or before * after <= 0:
        return price
    if before * traded < 0:
        return entry
    return (entry * before + price * traded) / after
