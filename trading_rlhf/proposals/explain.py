"""Why a trade is proposed: what each input adds to the change of weight, exactly.

The policy moves a share g (its gate) of the way from the weight held h to a goal, so that

    change = g * (goal - h) = (goal - h) - (1 - g) * (goal - h)

that is, what it wants less what it holds back. Features enter through the goal and through the
gate. Integrated gradients (Sundararajan, Taly & Yan 2017, eq. 1) of

    pull(x) = goal(x) + (goal - h) * gate(x)

along the straight line from x = 0 (every feature at its mean) to what was seen, with what is held
staying as it is, share pull(x) - pull(0) out among all inputs. The gate is that of the trade's own
side on the whole line, so that pull is smooth. Two terms that no feature explains complete the
change: where the policy would go from what is held without any signal, goal(0) - h, and what its
gate then holds back, -(1 - gate(0)) * (goal - h). That is the pace that training chose: it slows
with the cost, but some caution remains without any, so it is called "cost and caution".
"""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trading_rlhf.agent import Policy
from trading_rlhf.proposals.proposal import Explanation, Reason
from trading_rlhf.proposals.sentence import say_why

__all__ = ["Attribution", "attribute", "explain"]

_NODES = 12  # of Gauss and Legendre, on each piece of the line
_HALVINGS = 20
_TOLERANCE = 1e-6  # of one piece; the whole stays well below 1e-4
_SMALLEST = 1e-4  # a basis point of equity: below it a residual is not relative
_ASSETS_AT_ONCE = 32
_REASONS = 3


@dataclass(frozen=True)
class Attribution:
    """What makes up the proposed changes of P assets (fractions of equity, float64).

    ``features.sum(1) + other_assets + held + restraint`` is ``change``.

    Attributes:
        features: ``[P, F]`` of the asset's own features, over the whole window that is seen.
        latest: ``[P, F]`` the part of it that comes from the decision bar.
        other_assets: ``[P]`` of the features of all other assets.
        held: ``[P]`` what it would want from what is held with every feature at its mean.
        restraint: ``[P]`` what its gate would then hold back.
        change: ``[P]`` the change of weight.
        residual: ``[P]`` distance of the integral from the difference that it must sum to, over
            that difference (over a basis point where that is less).
    """

    features: Tensor
    latest: Tensor
    other_assets: Tensor
    held: Tensor
    restraint: Tensor
    change: Tensor
    residual: Tensor


def attribute(
    policy: Policy, seen: Tensor, held: Tensor, assets: Tensor, noise: Tensor | None = None
) -> Attribution:
    """Share the changes of weight of some assets out among everything that the policy saw.

    Args:
        policy: a single policy (S = 1).
        seen: ``[N, F]`` or ``[W, N, F]``, what the policy encodes at the decision bar (W bars, the
            decision bar last).
        held: ``[N]`` weights (fraction of equity).
        assets: ``[P]`` indices of the assets explained.
        noise: ``[N]`` added to the scores when the trades were proposed.

    Returns:
        The attribution, with its residual, at most 1e-4 for the policies of this package.
    """
    # In float32 the rounding alone would be a residual.
    exact = copy.deepcopy(policy).double().requires_grad_(False)
    inputs = (seen.double(), held.double(), None if noise is None else noise.double())
    parts = [_attribute(exact, *inputs, some) for some in torch.split(assets, _ASSETS_AT_ONCE)]
    names = Attribution.__dataclass_fields__
    return Attribution(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


def explain(
    attribution: Attribution,
    row: int,
    values: Tensor,
    names: tuple[str, ...],
    labels: dict[str, str],
) -> tuple[tuple[Reason, ...], Explanation]:
    """Put the attribution of one asset into a record.

    Args:
        attribution: from ``attribute``.
        row: which of its assets.
        values: ``[F]`` the asset's features at the decision bar (standard deviations).
        names: feature names in order.
        labels: plain words by feature name.

    Returns:
        The three features that moved its weight most, largest absolute contribution first (fewer
        where there are fewer), and everything else. Together they sum to the change of weight.
    """
    own, latest = attribution.features[row], attribution.latest[row]
    order = own.abs().argsort(descending=True, stable=True)[:_REASONS].tolist()
    reasons = tuple(
        Reason(names[i], labels[names[i]], float(values[i]), float(own[i]), float(latest[i]))
        for i in order
    )
    others, held, restraint, change, residual = (
        float(part[row])
        for part in (
            attribution.other_assets,
            attribution.held,
            attribution.restraint,
            attribution.change,
            attribution.residual,
        )
    )
    rest = float(own.sum() - own[order].sum())
    sentence = say_why(change, reasons, others, held, restraint)
    return reasons, Explanation(rest, others, held, restraint, residual, sentence)


def _attribute(
    policy: Policy, seen: Tensor, held: Tensor, noise: Tensor | None, assets: Tensor
) -> Attribution:
    ends = _Pull(policy, torch.stack([torch.zeros_like(seen), seen]), held, noise, assets)
    at_mean, wish = ends.goal[0] - held[assets], ends.goal[1] - held[assets]
    buys = wish > 0
    pull = ends.of(wish, buys)
    change, restraint = ends.gate(buys)[1] * wish, -(1.0 - ends.gate(buys)[0]) * wish
    wanted = pull[1] - pull[0]
    scale = wanted.abs().clamp(min=_SMALLEST)
    line = _Line(policy, seen, held, noise, assets, wish, buys)
    shares = _integrate(line, _TOLERANCE * scale)
    total = shares.flatten(1).sum(1)
    windows = shares if seen.dim() == 3 else shares[:, None]  # [P, W, N, F]
    own = windows[torch.arange(len(assets)), :, assets]  # [P, W, F]
    return Attribution(
        features=own.sum(1),
        latest=own[:, -1],
        other_assets=total - own.sum((1, 2)),
        held=at_mean,
        restraint=restraint,
        change=change,
        residual=(total - wanted).abs() / scale,
    )


class _Pull:
    """What the policy makes of a batch of K inputs, for the assets explained."""

    def __init__(
        self, policy: Policy, inputs: Tensor, held: Tensor, noise: Tensor | None, assets: Tensor
    ) -> None:
        shape = (1, len(inputs), len(held))
        shifted = None if noise is None else noise.expand(shape)
        decision = policy.decide(policy.encode(inputs), held.expand(shape), shifted)
        self.goal = decision.goal[0][:, assets]
        self._gates = torch.sigmoid(decision.paces[0][:, assets])

    def gate(self, buys: Tensor) -> Tensor:
        """``[K, P]`` gate of each asset's side, whichever way an input would go."""
        return torch.where(buys, self._gates[..., 0], self._gates[..., 1])

    def of(self, wish: Tensor, buys: Tensor) -> Tensor:
        """``[K, P]`` the function whose gradients are integrated."""
        return self.goal + wish * self.gate(buys)


@dataclass(frozen=True)
class _Line:
    """The straight line from features at their mean to what was seen, and the pull along it."""

    policy: Policy
    seen: Tensor
    held: Tensor
    noise: Tensor | None
    assets: Tensor
    wish: Tensor
    buys: Tensor

    def pull(self, places: Tensor) -> Tensor:
        """``[K, P]`` at K places from 0 to 1."""
        return self._pull(self._inputs(places))

    def slopes(self, places: Tensor) -> Tensor:
        """``[P, K, ...seen]`` of each asset's pull by every input."""
        inputs = self._inputs(places).requires_grad_()
        with torch.enable_grad():
            pull = self._pull(inputs)
            each = torch.eye(len(self.assets), dtype=pull.dtype)[:, None].expand(-1, len(pull), -1)
            (slopes,) = torch.autograd.grad(pull, inputs, each, is_grads_batched=True)
        return slopes

    def _inputs(self, places: Tensor) -> Tensor:
        return places.view(-1, *[1] * self.seen.dim()) * self.seen

    def _pull(self, inputs: Tensor) -> Tensor:
        made = _Pull(self.policy, inputs, self.held, self.noise, self.assets)
        return made.of(self.wish, self.buys)


def _integrate(line: _Line, tolerance: Tensor) -> Tensor:
    """Return ``[P, ...seen]`` what each input adds to the pull of each asset.

    A piece of the line is halved while its integral and the difference between its ends are further
    apart than ``tolerance`` ``[P]``: where a maximum over assets changes hands, the slope jumps.
    """
    nodes, weights = (torch.from_numpy(one) / 2 for one in np.polynomial.legendre.leggauss(_NODES))
    shares = torch.zeros(len(line.assets), *line.seen.shape, dtype=line.seen.dtype)
    starts, length = torch.zeros(1, dtype=nodes.dtype), 1.0
    for halving in range(_HALVINGS + 1):
        places = starts[:, None] + length * (nodes + 0.5)
        slopes = line.slopes(places.flatten())
        slopes = slopes.view(len(slopes), *places.shape, *line.seen.shape)
        pieces = torch.einsum("k,pqk...->pq...", weights * length, slopes) * line.seen
        rise = line.pull(starts + length) - line.pull(starts)
        error = (pieces.flatten(2).sum(2).T - rise).abs()
        done = (error <= tolerance).all(1) | (halving == _HALVINGS)
        shares += pieces[:, done].sum(1)
        if bool(done.all()):
            break
        length /= 2
        starts = torch.cat([starts[~done], starts[~done] + length])
    return shares
