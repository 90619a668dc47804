"""A proposed trade, frozen at the close at which it was decided."""

from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Literal

from trading_rlhf.errors import DataError, LookAheadError
from trading_rlhf.types import JsonDict

__all__ = ["Explanation", "Proposal", "Reason", "Mode"]

Mode = Literal["live", "history", "practice"]

_TIMES = ("known_at", "decided_at", "earliest_fill_at", "expires_at")


@dataclass(frozen=True)
class Reason:
    """One input that moved the policy's score for this asset.

    Attributes:
        feature: name in the feature registry.
        label: plain words ("60-day trend").
        value: the feature at the decision bar (standard deviations).
        contribution: what it adds to the proposed change (fraction of equity, signed), over all
            bars that the policy sees.
        latest: the part of it that comes from the decision bar; None where nobody asked.
    """

    feature: str
    label: str
    value: float
    contribution: float
    latest: float | None = None


@dataclass(frozen=True)
class Explanation:
    """What the proposed change is made of beside its reasons (fractions of equity, signed).

    These four and the contributions of the reasons sum to the change of weight.

    Attributes:
        other_signals: the asset's features beyond the reasons.
        other_assets: the features of all other assets.
        held: what the policy would want from what is held with every feature at its mean.
        restraint: what its gate would then hold back, for the cost and out of caution.
        residual: error of the sum (share of what the features explain, or of a basis point).
        sentence: all of it in words, without the asset's name, for pages that hide it.
    """

    other_signals: float
    other_assets: float
    held: float
    restraint: float
    residual: float
    sentence: str


@dataclass(frozen=True)
class Proposal:
    """A trade that the policy wants and a reviewer may allow.

    Weights are signed fractions of equity; money is USD; times are time-zone aware.

    Attributes:
        id: content hash of market, policy, bar, symbol, mode and what was known at that close:
            the same proposal has the same id, whatever bars come later.
        market: name of the bars ("us4").
        symbol: the asset.
        mode: "live" (can still be filled), "history" (masked) or "practice".
        bar: index t of the decision bar.
        known_at: close of bar t, when its data became known.
        decided_at: when the policy decided.
        earliest_fill_at: the next open (or the next close where bars have no open).
        expires_at: answers after this cannot release the trade.
        horizon: bars over which the outcome is attributed; used for purging.
        held: weight held at the close of t.
        target: proposed weight.
        price: raw close of t (USD).
        equity: account value at the close of t (USD).
        cost: expected cost of the trade (fraction of equity).
        confidence: the policy's own gate, 0 to 1: how far towards its goal it goes now.
        reasons: the three inputs that moved the score most, largest first.
        feature_names: names of ``features``.
        features: ``[F]`` what the policy saw of this asset.
        portfolio: weight held at the close of t, by symbol.
        planned: weight after every proposal of this bar, by symbol.
        entry_price: average entry price of the open position (USD, raw), None when flat.
        open_profit: unrealised profit of the open position (fraction of entry), None when flat.
        policy_id: checkpoint that proposed it.
        data_sha256: hash of the bars it was computed from.
        selection_probability: chance with which it entered the queue.
        random_share: drawn at random, whatever the filter thinks; hides the model's opinion.
        explanation: the rest of the change beside the reasons; None for a trade that was stored
            before there was one.
    """

    id: str
    market: str
    symbol: str
    mode: Mode
    bar: int
    known_at: datetime
    decided_at: datetime
    earliest_fill_at: datetime
    expires_at: datetime
    horizon: int
    held: float
    target: float
    price: float
    equity: float
    cost: float
    confidence: float
    reasons: tuple[Reason, ...]
    feature_names: tuple[str, ...]
    features: tuple[float, ...]
    portfolio: dict[str, float]
    planned: dict[str, float]
    entry_price: float | None
    open_profit: float | None
    policy_id: str
    data_sha256: str
    selection_probability: float = 1.0
    random_share: bool = True
    explanation: Explanation | None = None

    def __post_init__(self) -> None:
        for name in _TIMES:
            if getattr(self, name).tzinfo is None:
                raise DataError(f"{name} must carry a time zone", "a naive time", "Use UTC.")
        if not self.known_at <= self.decided_at <= self.earliest_fill_at:
            raise LookAheadError(
                "a trade is known, then decided, then filled",
                f"{self.known_at}, {self.decided_at}, {self.earliest_fill_at}",
                "Decide after the close of a bar and fill at a later one.",
            )
        if self.mode not in ("live", "history", "practice"):
            raise DataError("mode must be live, history or practice", self.mode, "Use one of them.")
        if len(self.features) != len(self.feature_names):
            raise DataError(
                "features and their names must have one length",
                f"{len(self.features)} and {len(self.feature_names)}",
                "Pass the registry's names in order.",
            )

    @property
    def change(self) -> float:
        """Proposed change of weight (fraction of equity, signed)."""
        return self.target - self.held

    @property
    def notional(self) -> float:
        """Size of the trade (USD, unsigned)."""
        return abs(self.change) * self.equity

    @property
    def shares(self) -> float:
        """Number of shares at the decision close (signed)."""
        return self.change * self.equity / self.price

    def to_json(self) -> JsonDict:
        """Return a JSON-ready dict; ``from_json`` reads it back to an equal proposal."""
        data = asdict(self)
        for name in _TIMES:
            data[name] = getattr(self, name).isoformat()
        return data

    @classmethod
    def from_json(cls, data: JsonDict) -> "Proposal":
        """Read what ``to_json`` wrote.

        Raises:
            DataError: a field is missing.
        """
        wanted = {field.name for field in fields(cls)}
        missing = sorted(wanted - set(data) - {"explanation"})
        if missing:
            raise DataError("a proposal must be complete", f"no {missing}", "Store it again.")
        values: JsonDict = {name: data.get(name) for name in wanted}
        for name in _TIMES:
            values[name] = datetime.fromisoformat(values[name])
        values["reasons"] = tuple(Reason(**reason) for reason in values["reasons"])
        known = values["explanation"]
        values["explanation"] = None if known is None else Explanation(**known)
        values["feature_names"] = tuple(values["feature_names"])
        values["features"] = tuple(values["features"])
        return cls(**values)
