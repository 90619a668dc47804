"""Twenty assets with known edges: what a policy earns there, and what a rule that knows them would.

Scores count the planted drift and volatility instead of the prices that came of them, so that
neither a policy nor the rule can be lucky.
"""

from itertools import product
from typing import Final

import numpy as np
import torch
from torch import Tensor

from backtests.planted_desks import known_moments
from trading_rlhf.accounting import CostModel
from trading_rlhf.agent import Decision, Policy, PolicyConfig, walk
from trading_rlhf.env import GateConfig, MarketTensors
from trading_rlhf.market import PlantedMarket, planted_market

__all__ = ["COSTS", "MAX_GROSS", "RISK_AVERSION", "KnownEdges", "Many"]

COSTS: Final = CostModel()
MAX_GROSS: Final = 0.98
RISK_AVERSION: Final = 5.0
"""Price of variance in what all are trained on and judged by; the trainer's default."""

_EDGES = {0: (0.0010, 0.97), 1: (0.0008, 0.9)}
"""By feature: drift of a unit of it, and the share of the feature that is left a bar later."""

_DRIFT = 0.0003
_GATE = GateConfig(min_trade=0.0)


class KnownEdges:
    """Rules that know the edges, one for each setting of a grid; walks take it for a policy.

    Each wants the assets whose edge lies within ``width`` of the best one's, in proportion to how
    far it lies in there over a power of volatility. An asset is traded only where that is more than
    ``band`` away from what is held, and then goes the share ``pace`` of the way. An edge counts
    for as long as it lasts: ``patience`` is the weight of each later bar.

    Attributes:
        members: S, size of the grid.
        config: limit of gross exposure.
        settings: ``[S, 5]`` width (return of a bar), power, band (fraction of equity), pace,
            patience.
    """

    def __init__(self) -> None:
        widths = [1e-4 * x for x in (2, 5, 8, 11, 15, 24)]
        grid = product(widths, (1.0, 2.0, 3.0), (0.0, 0.03, 0.1), (1.0, 0.7, 0.4), (0.0, 0.6, 0.8))
        self.settings = torch.tensor(list(grid))
        self.members = len(self.settings)
        self.config = PolicyConfig(max_gross=MAX_GROSS)

    def encode_bars(self, features: Tensor, t: Tensor) -> Tensor:
        """Features ``[1, ..., N, F]`` of bars t."""
        return features[t].unsqueeze(0)

    def decide(self, encoded: Tensor, held: Tensor) -> Decision:
        """Targets ``[S, B, N]`` from features ``[1, B, N, F]`` and weights held ``[S, B, N]``."""
        width, power, band, pace, patience = (x.view(-1, 1, 1) for x in self.settings.unbind(1))
        edge = torch.full_like(held, _DRIFT)
        for feature, (drift, left) in _EDGES.items():
            # Mean over the bars to come, each of which counts patience times the one before.
            lasting = left * (1.0 - patience) / (1.0 - left * patience)
            edge = edge + drift * lasting * encoded[..., feature]
        within = (edge - edge.amax(-1, keepdim=True) + width).clamp(min=0.0)
        volatility = (0.4 * encoded[..., 2]).exp()
        share = within / volatility**power
        goal = MAX_GROSS * share / share.sum(-1, keepdim=True)
        away = goal - held
        target = torch.where(away.abs() > band, held + pace * away, held)
        return Decision(target, goal, torch.ones_like(goal), edge, torch.zeros(*goal.shape, 2))


class Many:
    """A planted market and the episodes on which policies are judged.

    Args:
        seed: of the market.
        n_bars: T.
        n_assets: N.
        length: bars of an episode.

    Attributes:
        planted: bars, features and what drove them.
        market: its tensors.
    """

    def __init__(
        self, seed: int, n_bars: int = 6000, n_assets: int = 20, length: int = 120
    ) -> None:
        self.planted: PlantedMarket = planted_market(np.random.default_rng(seed), n_bars, n_assets)
        self.market = MarketTensors.from_bars(self.planted.bars, self.planted.features)
        self.length = length
        self.starts = torch.arange(1, n_bars - length - 1, length)

    def scores(self, policy: Policy | KnownEdges) -> list[float]:
        """Expected reward of a bar (bp) of each member; accounts start flat.

        The reward is log growth less half the risk aversion times its square.
        """
        walked = walk(policy, self.market, self.starts, self.length, COSTS, _GATE)
        moments = [known_moments(walked, arm, self.planted, COSTS) for arm in range(policy.members)]
        return [
            1e4 * float(mean - 0.5 * variance - 0.5 * RISK_AVERSION * (variance + mean.square()))
            for mean, variance in moments
        ]

    def oracle_score(self) -> float:
        """Score of the best of ``KnownEdges`` here, which is chosen here, too."""
        return max(self.scores(KnownEdges()))
