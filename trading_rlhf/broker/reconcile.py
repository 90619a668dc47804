"""Positions as the stored fills give them, against what the broker says it holds."""

from dataclasses import dataclass

import pandas as pd
from sqlalchemy.orm import Session

from trading_rlhf.broker.broker import Broker, Fill
from trading_rlhf.store import Store, read_events

__all__ = ["PositionRow", "Reconciliation", "positions_from_fills", "reconcile"]

_TOLERANCE = 1e-6


@dataclass(frozen=True)
class PositionRow:
    """One asset: shares by the stored fills, shares at the broker, and their difference."""

    symbol: str
    stored: float
    broker: float

    @property
    def drift(self) -> float:
        """Shares at the broker beyond the stored ones (signed)."""
        return self.broker - self.stored

    @property
    def agrees(self) -> bool:
        """Whether both are equal up to rounding."""
        return abs(self.drift) <= _TOLERANCE * max(1.0, abs(self.stored), abs(self.broker))


@dataclass(frozen=True)
class Reconciliation:
    """All positions of an account, compared."""

    account: str
    rows: tuple[PositionRow, ...]

    @property
    def agrees(self) -> bool:
        """Whether every position agrees."""
        return all(row.agrees for row in self.rows)

    @property
    def sentence(self) -> str:
        """Say how many positions agree and which do not."""
        if self.agrees:
            return f"All {len(self.rows)} positions of {self.account} agree with the stored fills."
        off = [
            f"{row.symbol} holds {row.broker:,.4f} shares where the fills make {row.stored:,.4f}"
            for row in self.rows
            if not row.agrees
        ]
        return f"{self.account} has drifted: {'; '.join(off)}."

    def table(self) -> pd.DataFrame:
        """Return one row per asset: stored, broker, drift (shares), agrees."""
        return pd.DataFrame(
            {
                "stored": [row.stored for row in self.rows],
                "broker": [row.broker for row in self.rows],
                "drift": [row.drift for row in self.rows],
                "agrees": [row.agrees for row in self.rows],
            },
            index=pd.Index([row.symbol for row in self.rows], name="symbol"),
        )


def positions_from_fills(session: Session, account: str) -> dict[str, float]:
    """Rebuild positions (signed shares by symbol) from the stored fills, splits and dividends."""
    shares: dict[str, float] = {}
    for event in read_events(session, "fill"):
        if event.payload["account"] != account:
            continue
        if event.kind == "adjusted":
            for symbol, ratio in event.payload["ratios"].items():
                shares[symbol] = shares.get(symbol, 0.0) * ratio
        elif event.kind == "fill":
            fill = Fill.from_json(event.payload["fill"])
            shares[fill.symbol] = shares.get(fill.symbol, 0.0) + fill.signed_shares
    return shares


def reconcile(store: Store, broker: Broker) -> Reconciliation:
    """Compare the positions of a broker with those that the stored fills make."""
    with store.read() as session:
        stored = positions_from_fills(session, broker.name)
    held = broker.positions()
    rows = [
        PositionRow(symbol, stored.get(symbol, 0.0), held.get(symbol, 0.0))
        for symbol in sorted({*stored, *held})
    ]
    flat = [row for row in rows if row.agrees and abs(row.broker) <= _TOLERANCE]
    return Reconciliation(broker.name, tuple(row for row in rows if row not in flat))
