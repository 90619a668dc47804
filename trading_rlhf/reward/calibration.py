"""Is the reward model right as often as it says? Split by time, purged, against a ceiling."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trading_rlhf.errors import NotEnoughAnswersError
from trading_rlhf.reward.answers import Answers, Verdicts
from trading_rlhf.reward.fit import FitConfig, Fitted, fit_reward_model
from trading_rlhf.reward.likelihood import answer_probability
from trading_rlhf.reward.nets import RewardModel

__all__ = [
    "Quality",
    "expected_calibration_error",
    "fit_calibrated",
    "predicted_answers",
    "quality",
    "split_by_time",
]

_TEMPERATURES = torch.logspace(-0.7, 0.7, 29)


@dataclass(frozen=True)
class Quality:
    """How well a model predicts answers it was not fitted on.

    Attributes:
        answers: how many were predicted.
        accuracy: share predicted right.
        log_loss: mean negative log likelihood (nats).
        brier: mean squared error of the probability.
        ece: expected calibration error, 10 bins of equal count.
        auc: chance that an approved trade scores above a rejected one; NaN with one kind.
    """

    answers: int
    accuracy: float
    log_loss: float
    brier: float
    ece: float
    auc: float


def split_by_time(verdicts: Verdicts, held_out: float, purge: int) -> tuple[Tensor, Tensor]:
    """Indices of one set's earlier and later answers, split by decision, never by row.

    Answers whose outcome overlaps the later period (``purge`` bars) are dropped.

    Args:
        verdicts: one set (S = 1).
        held_out: share of answers in the later part.
        purge: bars between the last fitted and the first held-out decision.

    Returns:
        ``[1, Q]`` and ``[1, R]`` indices.
    """
    bars = verdicts.bar[0]
    is_late = bars >= bars.to(torch.float64).quantile(1.0 - held_out)
    late = torch.nonzero(is_late).flatten()
    early = torch.nonzero(bars < bars[is_late].min() - purge).flatten()
    return early[None], late[None]


def fit_calibrated(
    answers: Answers | Verdicts,
    config: FitConfig,
    purge: int,
    generator: torch.Generator,
    measurable: Tensor | None = None,
) -> tuple[Fitted, Quality | None]:
    """Fit on early answers, test and calibrate on late ones, then fit on all with that temperature.

    Args:
        answers: one set (S = 1); the quality is that of the verdicts, predicted from the early
            answers of every kind.
        config: settings.
        purge: bars purged between the two parts.
        generator: draws bootstraps and initial weights.
        measurable: ``[P]`` which answers may test and calibrate: those to trades drawn at random.
            What was asked because a model was unsure of it is harder than most. None is all.

    Returns:
        The final model, and the quality of the early one on the late answers: of those, the
        earlier half chooses the temperature and the later half is measured. None where a part is
        too small or of one kind.
    """
    answers = Answers.of(answers)
    verdicts = answers.verdicts
    early, late = split_by_time(verdicts, config.held_out, purge)
    first_late = int(verdicts.bar[0, late[0]].min())
    if measurable is not None:
        late = late[:, measurable[late[0]]]
    measured: Quality | None = None
    temperature = torch.ones(1)
    try:
        trial = fit_reward_model(answers.before(first_late - purge, early), config, generator)
    except NotEnoughAnswersError:
        trial = None
    if trial is not None and late.shape[1] >= 10:
        order = verdicts.bar[0, late[0]].argsort(stable=True)
        half = late.shape[1] // 2
        chosen, tested = late[:, order[:half]], late[:, order[half:]]
        temperature = _best_temperature(trial, verdicts.rows(chosen))
        judged = verdicts.rows(tested)
        # Of one kind, they say nothing of how the two are told apart.
        if 0 < int(judged.approved.sum()) < judged.approved.numel():
            measured = quality(_tempered(trial, temperature), judged)
    final = fit_reward_model(answers, config, generator)
    return _tempered(final, temperature), measured


def quality(fitted: Fitted, verdicts: Verdicts) -> Quality:
    """Measure one model (S = 1) on answers it has not seen."""
    p = predicted_answers(fitted, verdicts)[0]
    y = verdicts.approved[0]
    clipped = p.clamp(1e-6, 1 - 1e-6)
    log_loss = -(y * clipped.log() + (1 - y) * (1 - clipped).log()).mean()
    return Quality(
        answers=len(y),
        accuracy=float(((p > 0.5) == (y > 0.5)).float().mean()),
        log_loss=float(log_loss),
        brier=float((p - y).square().mean()),
        ece=expected_calibration_error(p, y),
        auc=_auc(p, y),
    )


def expected_calibration_error(p: Tensor, y: Tensor, bins: int = 10) -> float:
    """Mean gap between stated and observed frequency over bins of equal count.

    Args:
        p: ``[P]`` stated probabilities.
        y: ``[P]`` outcomes, 0 or 1.
        bins: number of bins.
    """
    order = p.argsort(stable=True)
    gaps = [
        (p[part].mean() - y[part].mean()).abs() * len(part)
        for part in order.chunk(min(bins, len(p)))
    ]
    return float(torch.stack(gaps).sum() / len(p))


def predicted_answers(fitted: Fitted, verdicts: Verdicts) -> Tensor:
    """``[S, P]`` mean over members of the probability that the answer is approve."""
    logits = fitted.model.logits_of_inputs(verdicts.inputs.unsqueeze(1))
    reviewer = verdicts.reviewer.unsqueeze(1).expand_as(logits)
    return answer_probability(logits, reviewer, fitted.effects).mean(1)


def _best_temperature(fitted: Fitted, verdicts: Verdicts) -> Tensor:
    losses = [
        quality(_tempered(fitted, candidate.view(1)), verdicts).log_loss
        for candidate in _TEMPERATURES
    ]
    return _TEMPERATURES[int(torch.tensor(losses).argmin())].view(1)


def _tempered(fitted: Fitted, temperature: Tensor) -> Fitted:
    parts = {**fitted.model.tensors(), "temperature": temperature}
    return replace(fitted, model=RewardModel(**parts))


def _auc(p: Tensor, y: Tensor) -> float:
    good, bad = p[y > 0.5], p[y <= 0.5]
    if not len(good) or not len(bad):
        return float("nan")
    wins = (good[:, None] > bad).double() + 0.5 * (good[:, None] == bad).double()
    return float(wins.mean())
