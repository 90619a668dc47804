"""What reviewers said, as tensors: one container for each kind of answer, and all together.

Every tensor begins with S sets. ``rows`` takes indices ``[S, Q]``.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from trading_rlhf.proposals import TradeTensors
from trading_rlhf.reward.nets import trade_inputs

__all__ = ["Answers", "Comparisons", "Ratings", "Resizes", "Tags", "Verdicts"]


_OF_A_TRADE = ("features", "held", "target", "bar")


class _Kind:
    """Answers of one kind: some fields are the trade's, the others are what was said about it."""

    said: ClassVar[tuple[str, ...]]

    reviewer: Tensor
    weight: Tensor
    bar: Tensor

    @property
    def count(self) -> int:
        """Answers in each set."""
        return int(self.reviewer.shape[1])

    def rows(self, index: Tensor) -> Self:
        """Some answers of each set; ``index`` is ``[S, Q]``."""
        return replace(self, **{n: _take(v, index) for n, v in self.tensors().items()})  # type: ignore[type-var]

    def before(self, bar: int) -> Self:
        """The answers of one set (S = 1) that were decided before a bar."""
        return self.rows(torch.nonzero(self.bar[0] < bar).flatten()[None])

    def shuffled(self, generator: torch.Generator) -> Self:
        """The placebo: the same answers given to other trades."""
        order = torch.stack(
            [torch.randperm(self.count, generator=generator) for _ in range(len(self.reviewer))]
        )
        tensors = self.tensors()
        moved = {name: _take(tensors[name], order) for name in self.said}
        return replace(self, **moved)  # type: ignore[type-var]

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by name."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {name: value for name, value in found.items() if isinstance(value, Tensor)}


def _take(values: Tensor, index: Tensor) -> Tensor:
    return values[torch.arange(len(index)).unsqueeze(-1), index]


def _who(reviewer: Tensor | None, count: int) -> Tensor:
    return torch.zeros(1, count, dtype=torch.long) if reviewer is None else reviewer[None]


def _weights(weight: Tensor | None, count: int) -> Tensor:
    return torch.ones(1, count) if weight is None else weight[None].to(torch.float32)


def _inputs(trades: TradeTensors) -> Tensor:
    return trade_inputs(*trades.full())[None, :, 0]


@dataclass(frozen=True)
class Verdicts(_Kind):
    """S sets of P yes/no answers to proposed trades.

    Attributes:
        inputs: ``[S, P, I]`` from ``trade_inputs``.
        approved: ``[S, P]`` 1 for approve, 0 for reject.
        reviewer: ``[S, P]`` index of the reviewer, 0 to J - 1.
        weight: ``[S, P]`` weight of the answer, mean 1.
        bar: ``[S, P]`` decision bar, for splits by time.
        reviewers: J.
    """

    said = ("approved", "reviewer", "weight")

    inputs: Tensor
    approved: Tensor
    reviewer: Tensor
    weight: Tensor
    bar: Tensor
    reviewers: int

    @classmethod
    def of_trades(
        cls,
        trades: TradeTensors,
        approved: Tensor,
        reviewer: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> "Verdicts":
        """One set (S = 1) of answers to P trades.

        Args:
            trades: the P trades.
            approved: ``[P]`` 1 or 0.
            reviewer: ``[P]`` index of who answered; None is a single reviewer.
            weight: ``[P]`` weights; None weighs all alike.
        """
        who, count = _who(reviewer, len(approved)), len(approved)
        said = approved.to(torch.float32)[None]
        weighed = _weights(weight, count)
        return cls(_inputs(trades), said, who, weighed, trades.bar[None], int(who.max()) + 1)


@dataclass(frozen=True)
class Comparisons(_Kind):
    """S sets of C answers to "which of these two trades?".

    Attributes:
        first: ``[S, C, I]`` inputs of the trade shown first (left).
        second: ``[S, C, I]`` inputs of the other.
        preferred: ``[S, C]`` 0 the first, 1 neither (equally good), 2 the second.
        reviewer: ``[S, C]`` index of the reviewer.
        weight: ``[S, C]`` weight of the answer.
        bar: ``[S, C]`` the later decision bar of the two.
    """

    said = ("preferred", "reviewer", "weight")

    first: Tensor
    second: Tensor
    preferred: Tensor
    reviewer: Tensor
    weight: Tensor
    bar: Tensor

    @classmethod
    def of_trades(
        cls,
        first: TradeTensors,
        second: TradeTensors,
        preferred: Tensor,
        reviewer: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> "Comparisons":
        """One set of answers to C pairs; arguments as the attributes, without S."""
        count = len(preferred)
        return cls(
            _inputs(first), _inputs(second), preferred[None], _who(reviewer, count),
            _weights(weight, count), torch.maximum(first.bar, second.bar)[None],
        )  # fmt: skip


@dataclass(frozen=True)
class Ratings(_Kind):
    """S sets of R ratings of proposed trades.

    Attributes:
        inputs: ``[S, R, I]`` from ``trade_inputs``.
        stars: ``[S, R]`` 1 (poor) to 5 (excellent), whole numbers.
        reviewer: ``[S, R]`` index of the reviewer.
        weight: ``[S, R]`` weight of the answer.
        bar: ``[S, R]`` decision bar.
    """

    said = ("stars", "reviewer", "weight")

    inputs: Tensor
    stars: Tensor
    reviewer: Tensor
    weight: Tensor
    bar: Tensor

    @classmethod
    def of_trades(
        cls,
        trades: TradeTensors,
        stars: Tensor,
        reviewer: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> "Ratings":
        """One set of ratings of R trades; arguments as the attributes, without S."""
        count = len(stars)
        who, weighed = _who(reviewer, count), _weights(weight, count)
        return cls(_inputs(trades), stars[None], who, weighed, trades.bar[None])


@dataclass(frozen=True)
class Resizes(_Kind):
    """S sets of Q answers "less of it": the proposed weight is refused and an own one preferred.

    That the own weight is also preferred to no trade is an approval and stands among the verdicts.

    Attributes:
        features: ``[S, Q, F]`` of the asked asset.
        held: ``[S, Q, N]`` weights held, the asked asset first (fraction of equity).
        target: ``[S, Q]`` proposed weight (fraction of equity).
        share: ``[S, Q]`` how much of the proposed change is wanted, above 0 and below 1.
        reviewer: ``[S, Q]`` index of the reviewer.
        weight: ``[S, Q]`` weight of the answer.
        bar: ``[S, Q]`` decision bar.
        asked: all trades that could have been resized (S = 1), for the placebo.
    """

    said = ("share", "reviewer", "weight")

    features: Tensor
    held: Tensor
    target: Tensor
    share: Tensor
    reviewer: Tensor
    weight: Tensor
    bar: Tensor
    asked: TradeTensors

    @classmethod
    def of_trades(
        cls,
        trades: TradeTensors,
        share: Tensor,
        asked: TradeTensors,
        reviewer: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> "Resizes":
        """One set of resizes of Q proposed trades; arguments as the attributes, without S."""
        count = len(share)
        return cls(
            trades.features[None], trades.held[None], trades.target[None],
            share.to(torch.float32)[None], _who(reviewer, count), _weights(weight, count),
            trades.bar[None], asked,
        )  # fmt: skip

    def shuffled(self, generator: torch.Generator) -> "Resizes":
        """The placebo (S = 1): the same wishes for less, about any of the trades asked about.

        Among resized trades alone it would still say which trades are too large.
        """
        chosen = torch.randperm(len(self.asked.bar), generator=generator)[: self.count]
        trades = {name: getattr(self.asked, name)[chosen][None] for name in _OF_A_TRADE}
        return replace(self, **trades)

    @property
    def proposed(self) -> Tensor:
        """``[S, Q, I]`` inputs of the proposed weights."""
        return self._inputs_at(self.target)

    @property
    def wanted(self) -> Tensor:
        """``[S, Q, I]`` inputs of the weights that reviewers wanted."""
        held = self.held[..., 0]
        return self._inputs_at(held + self.share * (self.target - held))

    def _inputs_at(self, weight: Tensor) -> Tensor:
        target = torch.cat([weight.unsqueeze(-1), self.held[..., 1:]], -1)
        return trade_inputs(self.features.unsqueeze(-2), self.held, target)[..., 0, :]


@dataclass(frozen=True)
class Tags(_Kind):
    """S sets of G answers that gave reasons.

    Attributes:
        inputs: ``[S, G, I]`` from ``trade_inputs``.
        given: ``[S, G, K]`` 1 where a reason was given, else 0.
        reviewer: ``[S, G]`` index of the reviewer.
        weight: ``[S, G]`` weight of the answer.
        bar: ``[S, G]`` decision bar.
        names: the K reasons.
    """

    said = ("given", "reviewer", "weight")

    inputs: Tensor
    given: Tensor
    reviewer: Tensor
    weight: Tensor
    bar: Tensor
    names: tuple[str, ...]

    @classmethod
    def of_trades(
        cls,
        trades: TradeTensors,
        given: Tensor,
        names: tuple[str, ...],
        reviewer: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> "Tags":
        """One set of reasons for G trades; arguments as the attributes, without S."""
        count = len(given)
        who, weighed = _who(reviewer, count), _weights(weight, count)
        said = given.to(torch.float32)[None]
        return cls(_inputs(trades), said, who, weighed, trades.bar[None], names)


@dataclass(frozen=True)
class Answers:
    """Answers of every kind to one desk's trades; the kinds number the same J reviewers.

    Attributes:
        verdicts: yes/no answers; a fit needs them, they place the line between yes and no.
        reviewers: J.
        comparisons: of two trades; None without any, as below.
        ratings: 1 to 5.
        resizes: own weights.
        tags: reasons.
    """

    verdicts: Verdicts
    reviewers: int
    comparisons: Comparisons | None = None
    ratings: Ratings | None = None
    resizes: Resizes | None = None
    tags: Tags | None = None

    @classmethod
    def of(cls, answers: "Verdicts | Answers") -> "Answers":
        """Verdicts alone are answers of one kind."""
        return cls(answers, answers.reviewers) if isinstance(answers, Verdicts) else answers

    @property
    def kinds(self) -> dict[str, _Kind]:
        """The kinds that occur, by name."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {n: v for n, v in found.items() if isinstance(v, _Kind) and v.count}

    @property
    def count(self) -> int:
        """Pieces of evidence in each set; a rated verdict with tags is three."""
        return sum(kind.count for kind in self.kinds.values())

    def shuffled(self, generator: torch.Generator) -> "Answers":
        """The placebo: answers of every kind given to other trades."""
        return self._with({n: k.shuffled(generator) for n, k in self.kinds.items()})

    def before(self, bar: int, verdicts: Tensor) -> "Answers":
        """One set's verdicts at some indices, and all else that was decided before a bar.

        Args:
            bar: first decision bar that is left out.
            verdicts: ``[1, Q]`` indices.
        """
        kept = {n: k.before(bar) for n, k in self.kinds.items()}
        return self._with({**kept, "verdicts": self.verdicts.rows(verdicts)})

    def _with(self, kinds: dict[str, Any]) -> "Answers":
        return replace(self, **kinds)
