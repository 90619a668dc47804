"""Splits by time, figures by hand, and the temperature."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reward.synthetic import NAMES, answers, random_trades
from trading_rlhf.proposals import TradeTensors
from trading_rlhf.reward import (
    FitConfig,
    Fitted,
    ReviewerEffects,
    RewardModel,
    Verdicts,
    expected_calibration_error,
    fit_calibrated,
    fit_reward_model,
    predicted_answers,
    quality,
    split_by_time,
)

CONFIG = FitConfig(iterations=60, members=3)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def verdicts_at(bars: list[int]) -> Verdicts:
    count = len(bars)
    trades = random_trades(count, generator())
    placed = TradeTensors(trades.features, trades.held, trades.target, torch.tensor(bars))
    return Verdicts.of_trades(placed, torch.arange(count) % 2)


@settings(max_examples=60, deadline=None)
@given(
    bars=st.lists(st.integers(0, 200), min_size=1, max_size=40),
    held_out=st.floats(0.05, 0.95),
    purge=st.integers(0, 30),
)
def test_early_outcomes_end_before_late_decisions_begin(bars, held_out, purge):
    early, late = split_by_time(verdicts_at(bars), held_out, purge)
    first = [bars[i] for i in early[0].tolist()]
    last = [bars[i] for i in late[0].tolist()]
    assert last
    if first:
        # An outcome runs over the purge bars after its decision.
        assert max(first) + purge < min(last)
    # What is in neither part lies within the purge.
    dropped = sorted(set(range(len(bars))) - set(early[0].tolist()) - set(late[0].tolist()))
    assert all(min(last) - purge - 1 <= bars[i] < min(last) for i in dropped)
    assert len(first) + len(last) + len(dropped) == len(bars)


def test_the_late_part_is_the_held_out_share():
    early, late = split_by_time(verdicts_at(list(range(100))), held_out=0.25, purge=10)
    assert late[0].tolist() == list(range(75, 100))
    assert max(early[0].tolist()) in (63, 64)


def test_answers_of_one_bar_stay_together():
    bars = [5] * 10 + [50] * 10
    early, late = split_by_time(verdicts_at(bars), held_out=0.3, purge=0)
    assert early[0].tolist() == list(range(10))
    assert late[0].tolist() == list(range(10, 20))


def test_calibration_error_by_hand():
    p = torch.tensor([0.1, 0.2, 0.7, 0.9])
    y = torch.tensor([0.0, 1.0, 1.0, 1.0])
    # Two bins: stated .15 against .5, stated .8 against 1.
    assert expected_calibration_error(p, y, bins=2) == pytest.approx((0.35 + 0.2) / 2)
    assert expected_calibration_error(p, y, bins=1) == pytest.approx(0.75 - 0.475)
    assert expected_calibration_error(p, y) == pytest.approx((0.1 + 0.8 + 0.3 + 0.1) / 4)


def test_calibration_error_does_not_depend_on_order():
    p, y = torch.rand(50, generator=generator()), torch.rand(50, generator=generator(1)).round()
    order = torch.randperm(50, generator=generator(2))
    assert expected_calibration_error(p[order], y[order]) == pytest.approx(
        expected_calibration_error(p, y), abs=1e-6
    )


def test_calibration_error_of_a_perfect_forecast_is_small():
    p = torch.rand(20000, generator=generator())
    y = (torch.rand(20000, generator=generator(1)) < p).float()
    assert expected_calibration_error(p, y) < 0.02
    assert expected_calibration_error((3 * (p - 0.5) + 0.5).clamp(0, 1), y) > 0.1


def stated(p: list[float], y: list[int]) -> tuple[Fitted, Verdicts]:
    """A model that states given probabilities: its only weight reads one input."""
    count = len(p)
    logits = torch.tensor(p, dtype=torch.float32).logit()
    inputs = torch.zeros(1, count, 3)
    inputs[0, :, 0] = logits
    line = torch.tensor([[[1.0, 0.0, 0.0]]])
    flat = torch.zeros(1, 1, 3, 2)
    model = RewardModel(line, torch.zeros(1, 1), flat, flat[:, :, 0], flat[:, :, 0], torch.ones(1))
    effects = ReviewerEffects.neutral(1, 1, 1)
    effects.lapse_logit.fill_(-50.0)
    approved = torch.tensor([y], dtype=torch.float32)
    who = torch.zeros(1, count, dtype=torch.long)
    return Fitted(model, effects), Verdicts(inputs, approved, who, approved * 0 + 1, who, 1)


def test_quality_by_hand():
    p, y = [0.8, 0.45, 0.55, 0.3], [1, 0, 0, 1]
    fitted, verdicts = stated(p, y)
    assert predicted_answers(fitted, verdicts)[0].tolist() == pytest.approx(p, abs=1e-6)
    found = quality(fitted, verdicts)
    assert found.answers == 4
    assert found.accuracy == 0.5
    losses = [math.log(0.8), math.log(0.55), math.log(0.45), math.log(0.3)]
    assert found.log_loss == pytest.approx(-sum(losses) / 4, abs=1e-6)
    assert found.brier == pytest.approx((0.04 + 0.2025 + 0.3025 + 0.49) / 4, abs=1e-6)
    # Pairs of an approved and a rejected trade: .8 beats both, .3 beats none.
    assert found.auc == pytest.approx(0.5)


def test_a_tie_is_half_a_win_and_one_kind_has_no_auc():
    assert quality(*stated([0.5, 0.5, 0.9], [1, 0, 1])).auc == pytest.approx(0.75)
    assert math.isnan(quality(*stated([0.5, 0.7], [1, 1])).auc)


def test_the_temperature_is_the_best_on_the_earlier_half_of_the_late_answers():
    verdicts = answers("trend", 300, 0).verdicts
    fitted, measured = fit_calibrated(verdicts, CONFIG, 20, generator(5))
    early, late = split_by_time(verdicts, CONFIG.held_out, 20)
    trial = fit_reward_model(verdicts.rows(early), CONFIG, generator(5))
    order = late[0][verdicts.bar[0, late[0]].argsort(stable=True)]
    half = len(order) // 2
    chosen, tested = order[None, :half], order[None, half:]

    def at(temperature: float, rows: torch.Tensor):
        parts = {**trial.model.tensors(), "temperature": torch.tensor([temperature])}
        return quality(Fitted(RewardModel(**parts), trial.effects), verdicts.rows(rows))

    found = float(fitted.model.temperature)
    assert 0.2 <= found <= 5.1
    for other in (0.2, 0.5, 0.8, 1.0, 1.25, 2.0, 5.0):
        assert at(found, chosen).log_loss <= at(other, chosen).log_loss + 1e-6
    assert measured == at(found, tested)
    assert measured.answers == len(order) - half


def test_the_final_model_learns_from_all_answers():
    verdicts = answers("trend", 300, 0).verdicts
    source = generator(5)
    fitted, _ = fit_calibrated(verdicts, CONFIG, 20, source)
    again = generator(5)
    early, _ = split_by_time(verdicts, CONFIG.held_out, 20)
    fit_reward_model(verdicts.rows(early), CONFIG, again)
    assert torch.equal(
        fitted.model.line_weight, fit_reward_model(verdicts, CONFIG, again).model.line_weight
    )


def test_held_out_answers_are_predicted_better_than_by_chance():
    _, measured = fit_calibrated(answers("reversal", 600, 1).verdicts, FitConfig(), 20, generator())
    assert measured.accuracy > 0.65
    assert measured.auc > 0.7
    assert measured.log_loss < math.log(2)


@pytest.mark.parametrize("count", [30, 35])
def test_too_few_early_answers_measure_nothing(count):
    """The first fit is made, and says that its quality is not known yet."""
    fitted, measured = fit_calibrated(answers("trend", count, 0).verdicts, CONFIG, 20, generator())
    assert measured is None
    assert fitted.model.temperature.tolist() == [1.0]


def test_inputs_have_the_width_of_the_features():
    assert answers("trend", 30, 0).verdicts.inputs.shape == (1, 30, 2 * len(NAMES) + 6)


def test_only_trades_drawn_at_random_measure_and_calibrate():
    verdicts = answers("trend", 400, 0).verdicts
    _, late = split_by_time(verdicts, CONFIG.held_out, 20)
    measurable = torch.ones(400, dtype=torch.bool)
    measurable[late[0, ::2]] = False
    fitted, measured = fit_calibrated(verdicts, CONFIG, 20, generator(5), measurable)
    kept = int(measurable[late[0]].sum())
    assert measured.answers == kept - kept // 2
    # What was asked because a model was unsure of it changes no figure, whatever was answered.
    approved = verdicts.approved.clone()
    approved[0, ~measurable] = 1 - approved[0, ~measurable]
    other = replace(verdicts, approved=approved)
    again, as_before = fit_calibrated(other, CONFIG, 20, generator(5), measurable)
    assert as_before == measured
    assert torch.equal(again.model.temperature, fitted.model.temperature)
    # It is learned from all the same.
    assert not torch.equal(again.model.line_weight, fitted.model.line_weight)
    assert fit_calibrated(other, CONFIG, 20, generator(5))[1] != measured


def test_without_random_trades_among_the_late_nothing_is_measured():
    verdicts = answers("trend", 300, 0).verdicts
    nothing = torch.zeros(300, dtype=torch.bool)
    fitted, measured = fit_calibrated(verdicts, CONFIG, 20, generator(5), nothing)
    assert measured is None
    assert fitted.model.temperature.tolist() == [1.0]
