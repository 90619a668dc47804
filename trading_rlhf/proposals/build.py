"""From a policy's output at one bar to frozen proposals."""

import hashlib
import json
import math
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import torch
from torch import Tensor

from trading_rlhf.accounting import CostModel, FillBar, order_costs
from trading_rlhf.agent import Policy
from trading_rlhf.env import Liquidity, is_asked
from trading_rlhf.market import Bars, FeatureRegistry, bar_close
from trading_rlhf.proposals.explain import Attribution, attribute, explain
from trading_rlhf.proposals.proposal import Mode, Proposal
from trading_rlhf.proposals.times import fill_time

__all__ = ["HORIZON", "Book", "ProposalMaker", "portfolio_weights"]

HORIZON = 20
"""Bars over which a proposal's outcome is attributed."""


@dataclass(frozen=True)
class Book:
    """An account at the close of a bar.

    Attributes:
        held: ``[N]`` weights (fraction of equity).
        entry: ``[N]`` average entry price over the close; 1 when flat.
        equity: account value (USD).
    """

    held: Tensor
    entry: Tensor
    equity: float


@dataclass(frozen=True)
class ProposalMaker:
    """Makes the proposals of one policy on one market.

    Attributes:
        market_name: name of the bars ("us4").
        bars: the bars.
        features: ``[T, N, F]`` of the bars.
        feature_names: F names in order.
        registry: gives the plain words of each feature.
        policy: a single policy (S = 1).
        policy_id: its checkpoint.
        costs: gives the expected cost.
        min_trade: smallest proposed change (fraction of equity).
        delay: bars that a review takes: an order decided at t fills at t + 1 + delay.
        liquidity: prices and volumes in USD, for costs that need them.
    """

    market_name: str
    bars: Bars
    features: Tensor
    feature_names: tuple[str, ...]
    registry: FeatureRegistry
    policy: Policy
    policy_id: str
    costs: CostModel
    min_trade: float
    delay: int = 0
    liquidity: Liquidity | None = None

    def at(
        self,
        t: int,
        book: Book,
        mode: Mode,
        *,
        noise: Tensor | None = None,
        resting: Tensor | None = None,
        random_share: bool = True,
        selection_probability: float = 1.0,
    ) -> list[Proposal]:
        """Propose at the close of bar t.

        Args:
            t: decision bar; nothing later is read, except the date of the next session.
            book: the account at that close.
            mode: how the proposals are reviewed.
            noise: ``[N]`` added to the scores, for questions off the beaten track.
            resting: ``[N]`` signed cool-down counters; a resting side is not proposed.
            random_share: whether the proposals entered the queue at random.
            selection_probability: chance with which they did.

        Returns:
            One proposal per asset whose change is at least ``min_trade``, in asset order.
        """
        held = book.held.to(torch.float32)
        shifted = None if noise is None else noise[None, None]
        with torch.no_grad():
            seen = self.policy.look(self.features, torch.tensor([t]))
            encoded = self.policy.encode(seen)
            decision = self.policy.decide(encoded, held[None, None], shifted)
        target, gate = decision.target[0, 0], decision.gate[0, 0]
        change = target - held
        rest = torch.zeros_like(change) if resting is None else resting
        wanted = is_asked(rest, change, self.min_trade) & torch.tensor(self.bars.fillable[t])
        if not bool(wanted.any()):
            return []
        moved = torch.nonzero(wanted).flatten()
        found = attribute(self.policy, seen[0], held, moved, noise)
        planned = torch.where(wanted, target, held)
        return [
            self._proposal(
                t, asset, book, mode, target, gate, planned, found, row,
                random_share, selection_probability,
            )
            for row, asset in enumerate(moved.tolist())
        ]  # fmt: skip

    def _proposal(
        self,
        t: int,
        asset: int,
        book: Book,
        mode: Mode,
        target: Tensor,
        gate: Tensor,
        planned: Tensor,
        found: Attribution,
        row: int,
        random_share: bool,
        selection_probability: float,
    ) -> Proposal:
        values = self.features[t, asset]
        reasons, explanation = explain(found, row, values, self.feature_names, self._labels())
        held, aim = float(book.held[asset]), float(target[asset])
        price, entry = self._raw_close(t, asset), float(book.entry[asset])
        decided_at, fill_at = self._times(t)
        position_open = abs(held) > 1e-6
        return Proposal(
            id=self._identity(t, asset, mode, held, aim),
            market=self.market_name,
            symbol=self.bars.symbols[asset],
            mode=mode,
            bar=t,
            known_at=decided_at,
            decided_at=decided_at,
            earliest_fill_at=fill_at,
            expires_at=fill_at,
            horizon=HORIZON,
            held=held,
            target=aim,
            price=price,
            equity=book.equity,
            cost=self._cost(t, asset, aim - held, book.equity),
            confidence=float(gate[asset]),
            reasons=reasons,
            feature_names=self.feature_names,
            features=tuple(values.tolist()),
            portfolio=portfolio_weights(self.bars.symbols, book.held),
            planned=portfolio_weights(self.bars.symbols, planned),
            entry_price=price * entry if position_open else None,
            open_profit=math.copysign(1.0, held) * (1.0 / entry - 1.0) if position_open else None,
            policy_id=self.policy_id,
            data_sha256=self.bars.sha256,
            selection_probability=selection_probability,
            random_share=random_share,
            explanation=explanation,
        )

    def _labels(self) -> dict[str, str]:
        return {name: self.registry.get(name).label for name in self.feature_names}

    def _times(self, t: int) -> tuple[datetime, datetime]:
        """When bar t closes, and when an order fills once its review is over."""
        return bar_close(self.bars, t), fill_time(self.bars, t + 1 + self.delay)

    def _cost(self, t: int, asset: int, change: float, equity: float) -> float:
        """Expected cost of a trade (fraction of equity), at the close's price and volumes."""
        costs, known, bar = self.costs.for_asset(asset), self.liquidity, None
        if costs.needs_equity and known is not None:
            bar = FillBar(
                equity=torch.tensor(equity, dtype=torch.float64),
                price=known.close[t, asset, None],
                volume=known.volume[t, asset, None],
                daily_volume=known.daily_volume[t, asset, None],
                volatility=known.volatility[t, asset, None],
            )
        return float(order_costs(torch.tensor([change], dtype=torch.float64), costs, bar))

    def _raw_close(self, t: int, asset: int) -> float:
        raw = self.bars.raw_close if self.bars.raw_close is not None else self.bars.close
        return float(np.asarray(raw)[t, asset])

    def _identity(self, t: int, asset: int, mode: Mode, held: float, target: float) -> str:
        """Hash of what is proposed and of what was known then; no later bar enters."""
        parts = [
            self.market_name, self.policy_id, mode,
            self.bars.dates[t].isoformat(), self.bars.symbols[asset],
            f"{held:.9f}", f"{target:.9f}",
            self._raw_close(t, asset), self.features[t, asset].tolist(),
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:20]


def portfolio_weights(symbols: tuple[str, ...], weights: Tensor) -> dict[str, float]:
    """Weights ``[N]`` by symbol (fraction of equity)."""
    return dict(zip(symbols, weights.tolist(), strict=True))
