"""A trade that may be sent to a broker: what was approved, by whom, and on what grounds."""

import math
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Literal

from trading_rlhf.errors import BrokerError
from trading_rlhf.types import JsonDict

__all__ = ["Approval", "Refusal", "SCHEMA_VERSION", "Side", "Signal"]

Side = Literal["buy", "sell"]

SCHEMA_VERSION = 1

_TIMES = ("known_at", "decided_at", "valid_until")


@dataclass(frozen=True)
class Approval:
    """One answer that a signal rests on.

    Attributes:
        event_id: the stored answer ("answer-17").
        reviewer: account that gave it.
        verdict: "approve" or "resize".
    """

    event_id: str
    reviewer: str
    verdict: str


@dataclass(frozen=True)
class Refusal:
    """A trade that was not released or not sent, and why, in one sentence."""

    proposal_id: str
    symbol: str
    sentence: str


@dataclass(frozen=True)
class Signal:
    """An approved trade. Weights are signed fractions of equity, prices are as traded (USD).

    Attributes:
        proposal_id: the proposal it comes from.
        strategy: name under which orders are counted; the market unless the caller says otherwise.
        symbol: the asset.
        side: "buy" or "sell".
        held: weight at the decision close.
        target: weight wanted; a reviewer's resize replaces the proposal's.
        shares: how many to trade, counted at the decision close (positive, fractions allowed).
        price: decision close.
        equity: account value at that close (USD).
        known_at: the decision close.
        decided_at: when the policy decided.
        valid_until: not sent after this.
        approvals: the answers it rests on; empty where the reward model alone released it.
        p: the reward model's probability of approval, None without a model.
        policy_id: checkpoint that proposed it.
        reward_model_id: reward model behind ``p``, None without one.
        data_sha256: hash of the bars it was computed from.
        chain_head: signed head of the audit chain when it was released.
        simulated: rests on a simulated answer, or on a model fitted on some: embedded broker only.
        revision: raised to replace an order that was already made for the same decision.
        note: why it is smaller than approved, and which sales it needs; empty otherwise.
        version: version of this schema.
    """

    proposal_id: str
    strategy: str
    symbol: str
    side: Side
    held: float
    target: float
    shares: float
    price: float
    equity: float
    known_at: datetime
    decided_at: datetime
    valid_until: datetime
    approvals: tuple[Approval, ...]
    p: float | None
    policy_id: str
    reward_model_id: str | None
    data_sha256: str
    chain_head: str
    simulated: bool
    revision: int = 0
    note: str = ""
    version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if self.version != SCHEMA_VERSION:
            raise BrokerError(
                f"a signal must have schema version {SCHEMA_VERSION}",
                str(self.version),
                "Read it with the version of trading_rlhf that wrote it.",
            )
        for name in ("shares", "price", "equity"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise BrokerError(f"{name} must be positive", str(value), "Send no empty trade.")
        buys = self.target > self.held
        if self.side != ("buy" if buys else "sell"):
            raise BrokerError(
                "the side must lead from held to target",
                f"{self.side} from {self.held} to {self.target}",
                "Buy to raise a weight, sell to lower it.",
            )
        if any(getattr(self, name).tzinfo is None for name in _TIMES):
            raise BrokerError("times must carry a time zone", "a naive time", "Use UTC.")

    @property
    def signed_shares(self) -> float:
        """Shares, negative for a sale."""
        return self.shares if self.side == "buy" else -self.shares

    @property
    def change(self) -> float:
        """Change of weight (fraction of equity, signed)."""
        return self.target - self.held

    def to_json(self) -> JsonDict:
        """Return a JSON-ready dict; ``from_json`` reads it back to an equal signal."""
        data = asdict(self)
        for name in _TIMES:
            data[name] = getattr(self, name).isoformat()
        data["approvals"] = [asdict(approval) for approval in self.approvals]
        return data

    @classmethod
    def from_json(cls, data: JsonDict) -> "Signal":
        """Read what ``to_json`` wrote.

        Raises:
            BrokerError: a field is missing or unknown, or the version is another one.
        """
        names = {field.name for field in fields(cls)}
        if set(data) != names:
            raise BrokerError(
                "a signal must have exactly the fields of its schema",
                f"{sorted(names ^ set(data))} missing or unknown",
                "Export it again.",
            )
        values = dict(data)
        for name in _TIMES:
            values[name] = datetime.fromisoformat(values[name])
        values["approvals"] = tuple(Approval(**approval) for approval in values["approvals"])
        return cls(**values)
