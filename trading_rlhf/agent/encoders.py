"""What a policy makes of the bars before a decision: a recurrent net or a causal convolution.

Both read windows of W bars that end at the decision and nothing else, so an encoding depends on
no earlier bar and on no later one. Windows overlap: what is the same in several of them is computed
once. S nets (seeds or arms) are stacked in one set of tensors ``[S, rows, columns]``.
"""

import math
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

__all__ = ["Convolution", "Recurrent", "windows", "window_rows", "uniform"]

_GROUP: Final = 2**16
"""Numbers of the states of windows that are stepped together."""


def windows(features: Tensor, t: Tensor, length: int) -> Tensor:
    """Windows of ``length`` bars that end at bars t; bars before the first repeat the first.

    Args:
        features: ``[T, N, F]``.
        t: ``[...]`` last bars.
        length: W.

    Returns:
        ``[..., W, N, F]``.
    """
    back = torch.arange(1 - length, 1, device=t.device)
    return features[(t.unsqueeze(-1) + back).clamp(min=0)]


def window_rows(features: Tensor, t: Tensor, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """The bars that windows ending at bars t consist of, without repetition where that is less.

    Args:
        features: ``[T, N, F]``.
        t: ``[...]`` last bars.
        length: W.

    Returns:
        ``[L, N, F]`` bars; ``[M]`` rows at which the M distinct windows end, each with W - 1 rows
        before it; and for each of ``t.numel()`` windows its place among the M.
    """
    flat = t.reshape(-1)
    first = int(flat.min()) - length + 1
    span = int(flat.max()) - first + 1
    if span > flat.numel() * length:
        # Few windows far from each other: the bars between them are not needed.
        ends = torch.arange(1, flat.numel() + 1, device=t.device) * length - 1
        rows = windows(features, flat, length).flatten(0, 1)
        return rows, ends, torch.arange(flat.numel(), device=t.device)
    bars = torch.arange(first, first + span, device=t.device).clamp(min=0)
    wanted = torch.zeros(span, dtype=torch.bool, device=t.device)
    wanted[flat - first] = True
    return features[bars], wanted.nonzero().squeeze(-1), _places(wanted)[flat - first]


class Recurrent(nn.Module):
    """Gated recurrent unit over the bars of a window (Cho et al. 2014, arXiv 1406.1078).

    As ``torch.nn.GRU``, stacked over S; every window starts from a state of zero.

    Args:
        n_features: F.
        width: H.
        length: W bars of a window.
        members: S.
        generator: source of the initial weights.
    """

    def __init__(
        self, n_features: int, width: int, length: int, members: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.length = length
        self.gru_input_weight = uniform(members, n_features, 3 * width, width, generator)
        self.gru_input_bias = uniform(members, 1, 3 * width, width, generator)
        self.gru_state_weight = uniform(members, width, 3 * width, width, generator)
        self.gru_state_bias = uniform(members, 1, 3 * width, width, generator)

    def forward(self, rows: Tensor, ends: Tensor) -> Tensor:
        """Encode the windows that end at some rows.

        Args:
            rows: ``[L, N, F]`` bars.
            ends: ``[M]`` last row of each window; W - 1 rows before each must exist.

        Returns:
            ``[S, M, N, H]`` in (-1, 1).
        """
        flat = rows.reshape(1, -1, rows.shape[-1])
        read = torch.matmul(flat, self.gru_input_weight) + self.gru_input_bias
        read = read.view(*read.shape[:1], *rows.shape[:2], -1)
        state: Tensor = _Scan.apply(  # type: ignore[no-untyped-call]
            read, self.gru_state_weight, self.gru_state_bias, ends, self.length
        )
        return state


class _Scan(Function):
    """The recurrence over the bars of each window.

    Only states are kept for the backward pass, which computes the gates again, and windows go in
    groups that stay in a core's cache: both passes wait for memory more than for arithmetic.
    """

    @staticmethod
    def forward(
        ctx: Any, read: Tensor, weight: Tensor, bias: Tensor, ends: Tensor, length: int
    ) -> Tensor:
        members, _, n_assets, _ = read.shape
        width = weight.shape[1]
        groups, last = [], []
        for some in torch.split(ends, max(1, _GROUP // (members * n_assets * width))):
            state = read.new_zeros((members, len(some) * n_assets, width))
            states = []
            for back in range(length - 1, -1, -1):
                states.append(state)
                keep, _, new, _ = _gates(read, some - back, state, weight, bias)
                state = torch.lerp(new, state, keep)
            groups.append(torch.stack(states))
            last.append(state.view(members, -1, n_assets, width))
        ctx.save_for_backward(read, weight, bias, ends, *groups)
        return torch.cat(last, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        read, weight, bias, ends, *groups = ctx.saved_tensors
        to_read, learns = slope.new_zeros(read.shape), ctx.needs_input_grad[1]
        to_weight, to_bias = slope.new_zeros(weight.shape), slope.new_zeros(bias.shape)
        first = 0
        for states in groups:
            n_windows = states.shape[2] // read.shape[2]
            some = ends[first : first + n_windows]
            to_state = slope.narrow(1, first, n_windows).reshape(states.shape[1:])
            for step, state in enumerate(reversed(states)):
                keep, reset, new, own = _gates(read, some - step, state, weight, bias)
                to_new = to_state * (1 - keep) * (1 - new * new)
                to_keep = to_state * (state - new) * keep * (1 - keep)
                to_reset = to_new * own * reset * (1 - reset)
                to_own = torch.cat([to_reset, to_keep, to_new * reset], -1)
                to_now = torch.cat([to_reset, to_keep, to_new], -1)
                to_read.index_add_(1, some - step, to_now.view(-1, n_windows, *read.shape[2:]))
                if learns:
                    to_weight += torch.matmul(state.transpose(1, 2), to_own)
                    to_bias += to_own.sum(1, keepdim=True)
                to_state = to_state * keep + torch.matmul(to_own, weight.transpose(1, 2))
            first += n_windows
        return to_read, to_weight if learns else None, to_bias if learns else None, None, None


def _gates(
    read: Tensor, now: Tensor, state: Tensor, weight: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Keep, reset and new state ``[S, M * N, H]``, and what the new state reads of the old."""
    width = weight.shape[1]
    own = torch.baddbmm(bias, state, weight)
    heard = read.index_select(1, now).view(own.shape)
    gates = torch.sigmoid(heard[..., : 2 * width] + own[..., : 2 * width])
    reset, keep = gates[..., :width], gates[..., width:]
    new = torch.tanh(heard[..., 2 * width :] + reset * own[..., 2 * width :])
    return keep, reset, new, own[..., 2 * width :]


class Convolution(nn.Module):
    """Dilated causal convolutions over the bars of a window (van den Oord et al. 2016, WaveNet).

    Kernels of two bars, 1, 2, 4, ... apart (arXiv 1609.03499), with a residual path; the last
    distance is such that the layers together read W bars, neither more nor less.

    Args:
        n_features: F.
        width: H.
        length: W bars of a window.
        members: S.
        generator: source of the initial weights.
    """

    def __init__(
        self, n_features: int, width: int, length: int, members: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.conv_input_weight = uniform(members, n_features, width, n_features, generator)
        self.conv_input_bias = uniform(members, 1, width, n_features, generator)
        self.distances = _distances(length)
        self.conv_weights = nn.ParameterList(
            uniform(members, 2 * width, width, 2 * width, generator) for _ in self.distances
        )
        self.conv_biases = nn.ParameterList(
            uniform(members, 1, width, 2 * width, generator) for _ in self.distances
        )

    def forward(self, rows: Tensor, ends: Tensor) -> Tensor:
        """Encode the windows that end at some rows: as ``Recurrent.forward``, not bounded."""
        members, _, width = self.conv_input_weight.shape
        n_assets = rows.shape[1]
        # Which rows each layer has to give, from the last to the first.
        wanted = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
        wanted[ends] = True
        needed = [wanted]
        for distance in reversed(self.distances):
            wanted = wanted.clone()
            wanted[:-distance] |= needed[-1][distance:]
            needed.append(wanted)
        have = needed.pop()
        flat = rows[have].reshape(1, -1, rows.shape[-1])
        out = torch.tanh(torch.matmul(flat, self.conv_input_weight) + self.conv_input_bias)
        out = out.view(members, -1, n_assets * width)
        layers = zip(self.distances, self.conv_weights, self.conv_biases, strict=True)
        for distance, weight, bias in layers:
            give, place = needed.pop(), _places(have)
            bars = give.nonzero().squeeze(-1)
            shape = (members, len(bars) * n_assets, width)
            new = out.index_select(1, place[bars]).view(shape)
            old = out.index_select(1, place[bars - distance]).view(shape)
            mixed = torch.baddbmm(bias, torch.cat([old, new], -1), weight)
            out, have = (new + torch.tanh(mixed)).view(members, -1, n_assets * width), give
        chosen = out.index_select(1, _places(have)[ends])
        return chosen.view(members, len(ends), n_assets, width)


def uniform(
    members: int, rows: int, columns: int, fan_in: int, generator: torch.Generator
) -> nn.Parameter:
    """Initial weights ``[members, rows, columns]``, uniform within ``1 / sqrt(fan_in)``."""
    bound = 1.0 / math.sqrt(fan_in)
    values = torch.rand(members, rows, columns, generator=generator)
    return nn.Parameter((values * 2 - 1) * bound)


def _distances(length: int) -> list[int]:
    """1, 2, 4, ... cut so that they sum to ``length - 1``."""
    distances: list[int] = []
    while sum(distances) < length - 1:
        distances.append(min(2 ** len(distances), length - 1 - sum(distances)))
    return distances


def _places(chosen: Tensor) -> Tensor:
    """``[L]`` place of each chosen row among the chosen ones (elsewhere without meaning)."""
    return chosen.cumsum(0) - 1
