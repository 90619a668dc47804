"""Proposals as tensors, for whoever scores them: the reward model and the simulated desk."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trading_rlhf.errors import DataError
from trading_rlhf.proposals.proposal import Proposal
from trading_rlhf.types import Desk

__all__ = ["TradeTensors"]


@dataclass(frozen=True)
class TradeTensors:
    """P proposals, the asked asset first in every portfolio.

    Attributes:
        features: ``[P, F]`` of the asked asset.
        held: ``[P, N]`` weights held (fraction of equity).
        target: ``[P]`` proposed weight of the asked asset (fraction of equity).
        bar: ``[P]`` decision bar.
    """

    features: Tensor
    held: Tensor
    target: Tensor
    bar: Tensor

    @classmethod
    def of(
        cls, proposals: Sequence[Proposal], targets: Sequence[float] | None = None
    ) -> "TradeTensors":
        """Build from proposals of one market and one set of features.

        Args:
            proposals: at least one.
            targets: other target weights, such as a reviewer's resize.

        Raises:
            DataError: they differ in assets or features.
        """
        kinds = {(len(p.portfolio), p.feature_names) for p in proposals}
        if len(kinds) != 1:
            raise DataError(
                "proposals scored together must have the same assets and features",
                f"{len(kinds)} kinds among {len(proposals)} proposals",
                "Score each market and feature set by itself.",
            )
        wanted = [p.target for p in proposals] if targets is None else list(targets)
        held = [
            [p.held, *(w for symbol, w in p.portfolio.items() if symbol != p.symbol)]
            for p in proposals
        ]
        return cls(
            features=torch.tensor([p.features for p in proposals], dtype=torch.float32),
            held=torch.tensor(held, dtype=torch.float32),
            target=torch.tensor(wanted, dtype=torch.float32),
            bar=torch.tensor([p.bar for p in proposals]),
        )

    @classmethod
    def pick(
        cls,
        features: Tensor,
        held: Tensor,
        target: Tensor,
        bar: Tensor,
        row: Tensor,
        asset: Tensor,
    ) -> "TradeTensors":
        """Take single trades out of whole portfolios.

        Args:
            features: ``[R, N, F]``.
            held: ``[R, N]`` weights (fraction of equity).
            target: ``[R, N]`` weights (fraction of equity).
            bar: ``[R]`` decision bars.
            row: ``[P]`` which portfolio.
            asset: ``[P]`` which asset of it.
        """
        n_assets = held.shape[-1]
        asked_first = (asset[:, None] + torch.arange(n_assets)) % n_assets
        return cls(
            features[row, asset],
            held[row].gather(1, asked_first).float(),
            target[row, asset].float(),
            bar[row],
        )

    def full(self) -> tuple[Tensor, Tensor, Tensor]:
        """Arguments of a ``Desk``: features ``[P, N, F]``, held and target ``[P, N]``.

        Only the first asset of each row is asked about; the others stay as held.
        """
        target = torch.cat([self.target.unsqueeze(-1), self.held[:, 1:]], -1)
        shape = (*self.held.shape, self.features.shape[-1])
        return self.features.unsqueeze(1).expand(shape), self.held, target

    def approval(self, desk: Desk) -> Tensor:
        """Probability ``[P]`` that a desk (S = 1) approves each proposal."""
        features, held, target = self.full()
        return desk(features, held.unsqueeze(0), target.unsqueeze(0))[0, :, 0]
