"""What an asset's encoding takes from the others': a summary of all, or attention over all.

Both treat assets alike: another order of the assets gives the same in that order, and any number
of assets will do. S nets are stacked in one set of tensors ``[S, rows, columns]``.
"""

import torch
from torch import Tensor, nn

from trading_rlhf.agent.encoders import uniform

__all__ = ["Attention", "Pooled"]


class Pooled(nn.Module):
    """Mean and maximum over the assets, given back to each of them (Zaheer et al. 2017).

    Deep Sets, arXiv 1703.06114.

    Args:
        width: H.
        members: S.
        generator: source of the initial weights.
    """

    def __init__(self, width: int, members: int, generator: torch.Generator) -> None:
        super().__init__()
        self.pool_weight = uniform(members, 2 * width, width, 2 * width, generator)
        self.pool_bias = uniform(members, 1, width, 2 * width, generator)

    def forward(self, encoded: Tensor) -> Tensor:
        """Return ``[S, M, 1, H]``, to be added to each asset of ``encoded`` ``[S, M, N, H]``."""
        seen = torch.tanh(encoded)
        pooled = torch.cat([seen.mean(-2), seen.amax(-2)], -1)
        return torch.baddbmm(self.pool_bias, pooled, self.pool_weight).unsqueeze(-2)


class Attention(nn.Module):
    """Scaled dot-product attention over the assets (Vaswani et al. 2017, arXiv 1706.03762).

    No position enters, and no asset is masked.

    Args:
        width: H.
        heads: in how many parts of H attention is paid; divides H.
        members: S.
        generator: source of the initial weights.
    """

    def __init__(self, width: int, heads: int, members: int, generator: torch.Generator) -> None:
        super().__init__()
        self.heads = heads
        self.attention_weight = uniform(members, width, 3 * width, width, generator)
        self.attention_out = uniform(members, width, width, width, generator)

    def forward(self, encoded: Tensor) -> Tensor:
        """Return ``[S, M, N, H]``, to be added to ``encoded`` of the same shape."""
        members, times, n_assets, width = encoded.shape
        rows = torch.tanh(encoded).reshape(members, times * n_assets, width)
        asked = torch.bmm(rows, self.attention_weight)
        parts = asked.view(members * times, n_assets, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        found = nn.functional.scaled_dot_product_attention(query, key, value)
        joined = found.transpose(1, 2).reshape(members, times * n_assets, width)
        return torch.bmm(joined, self.attention_out).view(encoded.shape)
