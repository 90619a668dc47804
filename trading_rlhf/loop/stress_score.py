"""What a policy scores under a challenge, and how sure that is."""

from dataclasses import asdict, dataclass

import numpy as np
import torch

from trading_rlhf.backtest import block_length, stationary_rows
from trading_rlhf.env import Challenge
from trading_rlhf.types import FloatArray, JsonDict

__all__ = ["Cell", "Measured", "score_cell", "undisturbed_cell"]

_RESAMPLES = 1000
_SURE = 2.0


@dataclass(frozen=True, eq=False)
class Measured:
    """What happened in D draws of one challenge at one level, over the same K bars.

    Attributes:
        score: ``[D, K]`` score per bar (basis points).
        returns: ``[D, K]`` return per bar (fraction).
        turnover: sum of absolute trades per bar, the mean over all (fraction of equity).
        violations: share of bars over a limit; None without limits.
        hold: mean log growth of buy and hold (basis points per bar), where it was asked for.
    """

    score: FloatArray
    returns: FloatArray
    turnover: float
    violations: float | None = None
    hold: float | None = None


@dataclass(frozen=True)
class Cell:
    """One challenge at one level.

    Attributes:
        name: of the challenge.
        label: in plain words.
        level: "easy", "medium" or "hard"; "undisturbed" for what the others are compared with.
        what: what happens at this level.
        retrained: whether policies learned anew, and are compared with others that did.
        changes_task: whether the yardstick changed and not the market.
        draws: how many draws (of noise, or of trained policies) the figures are means over.
        score: mean score per bar (basis points).
        score_error: its standard error.
        sharpe: yearly Sharpe ratio.
        change: score less the undisturbed one (basis points per bar).
        change_error: its standard error, paired by bar.
        kept: score over the undisturbed score; None where that is not clearly above zero.
        turnover: sum of absolute trades per bar (fraction of equity).
        violations: share of bars over a limit; None without limits.
        hold: mean log growth of buy and hold (basis points per bar); None where the market is the
            undisturbed one.
    """

    name: str
    label: str
    level: str
    what: str
    retrained: bool
    changes_task: bool
    draws: int
    score: float
    score_error: float
    sharpe: float
    change: float
    change_error: float
    kept: float | None
    turnover: float
    violations: float | None
    hold: float | None

    @property
    def is_clear(self) -> bool:
        """Whether the score lies two standard errors above zero."""
        return self.score > _SURE * self.score_error

    def to_json(self) -> JsonDict:
        """JSON-ready dict."""
        return asdict(self)


def undisturbed_cell(
    measured: Measured, retrained: bool, bars_per_year: float, generator: torch.Generator
) -> Cell:
    """The figures that challenges are compared with."""
    score, error = _mean(measured.score), _error(measured.score, generator)
    return Cell(
        name="undisturbed",
        label="undisturbed",
        level="undisturbed",
        what="retrained" if retrained else "as in the run",
        retrained=retrained,
        changes_task=False,
        draws=len(measured.score),
        score=score,
        score_error=error,
        sharpe=_sharpe(measured.returns, bars_per_year),
        change=0.0,
        change_error=0.0,
        kept=1.0 if score > _SURE * error else None,
        turnover=measured.turnover,
        violations=measured.violations,
        hold=measured.hold,
    )


def score_cell(
    challenge: Challenge,
    level: str,
    measured: Measured,
    before: Measured,
    reference: Cell,
    bars_per_year: float,
    generator: torch.Generator,
) -> Cell:
    """Compare what happened under a challenge with what happened without it.

    Args:
        challenge: what was endured.
        level: at which level.
        measured: under the challenge.
        before: without it, over the same bars.
        reference: the figures of ``before``.
        bars_per_year: bars a year.
        generator: draws the bootstrap.
    """
    score, change = _mean(measured.score), measured.score - before.score
    return Cell(
        name=challenge.name,
        label=challenge.label,
        level=level,
        what=challenge.describe(),
        retrained=reference.retrained,
        changes_task=challenge.changes_task,
        draws=len(measured.score),
        score=score,
        score_error=_error(measured.score, generator),
        sharpe=_sharpe(measured.returns, bars_per_year),
        change=_mean(change),
        change_error=_error(change, generator),
        kept=score / reference.score if reference.is_clear else None,
        turnover=measured.turnover,
        violations=measured.violations,
        hold=measured.hold,
    )


def _mean(values: FloatArray) -> float:
    return float(values.mean())


def _sharpe(returns: FloatArray, bars_per_year: float) -> float:
    """Mean over draws of the yearly Sharpe ratio; 0 where nothing moves."""
    spread = returns.std(axis=1, ddof=1)
    ratio = np.divide(returns.mean(axis=1), spread, out=np.zeros_like(spread), where=spread > 0)
    return float(ratio.mean() * bars_per_year**0.5)


def _error(paths: FloatArray, generator: torch.Generator) -> float:
    """Standard error of the mean of ``[D, K]`` paths over the same bars.

    Draws and blocks of bars are resampled at once, since draws share their bars and neighbouring
    bars resemble each other. One draw less than there are is taken, which leaves the variance of
    few draws unbiased (Rao and Wu 1988, JASA 83 (401)).
    """
    draws, bars = paths.shape
    rows = stationary_rows(bars, _RESAMPLES, block_length(paths.mean(axis=0)), generator)
    drawn = torch.randint(draws, (_RESAMPLES, max(draws - 1, 1)), generator=generator)
    shares = torch.nn.functional.one_hot(drawn, draws).double().mean(1)
    means = (shares @ torch.as_tensor(paths)).gather(1, rows).mean(1)
    return float(means.std())
