"""Entropy in two parts, and reviewers whose mistakes are the same."""

import math

import pytest
import torch

from tests.reward.synthetic import NAMES, answers, random_trades
from trading_rlhf.feedback.simulated import StyleDesk
from trading_rlhf.proposals import TradeTensors
from trading_rlhf.reward import (
    FitConfig,
    Verdicts,
    fit_reward_model,
    split_uncertainty,
    suspiciously_alike,
)

CONFIG = FitConfig(members=3, iterations=120)


def test_parts_by_hand():
    p = torch.tensor([[0.5, 0.0, 0.9], [0.5, 1.0, 0.9]])
    parts = split_uncertainty(p, members=0)
    sure = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    # People differ; the members do; neither.
    assert parts.aleatoric.tolist() == pytest.approx([math.log(2), 0.0, sure], abs=1e-6)
    assert parts.epistemic.tolist() == pytest.approx([0.0, math.log(2), 0.0], abs=1e-6)
    assert parts.total.tolist() == pytest.approx([math.log(2), math.log(2), sure], abs=1e-6)


def test_more_answers_lower_the_members_part_alone():
    trades = random_trades(500, torch.Generator().manual_seed(8)).full()
    found = []
    for count in (60, 1500):
        verdicts = answers("trend", count, 0).verdicts
        model = fit_reward_model(verdicts, CONFIG, torch.Generator().manual_seed(0)).model
        parts = model.uncertainty(trades[0], trades[1][None], trades[2][None])
        assert parts.epistemic.shape == (1, *trades[1].shape)
        found.append(float(parts.epistemic[0, :, 0].mean()))
    assert found[1] < 0.7 * found[0]


@pytest.fixture(scope="module")
def judged():
    """Five reviewers judge the same 100 trades, each with own mistakes."""
    chance = torch.Generator().manual_seed(4)
    trades = random_trades(100, chance)
    p = trades.approval(StyleDesk.of("trend", NAMES))
    said = (torch.rand(5, 100, generator=chance) < 0.2 + 0.6 * p).float()
    every = TradeTensors(*(
        torch.cat([x] * 5) for x in (trades.features, trades.held, trades.target, trades.bar)
    ))  # fmt: skip
    return every, said, torch.arange(100).repeat(5)


def alike(every, said, item):
    who = torch.arange(5).repeat_interleave(100)
    verdicts = Verdicts.of_trades(every, said.flatten(), who)
    fitted = fit_reward_model(verdicts, CONFIG, torch.Generator().manual_seed(0))
    return suspiciously_alike(fitted, verdicts, item)


def test_a_pair_that_gives_the_same_wrong_answers_is_flagged(judged):
    every, said, item = judged
    colluding = said.clone()
    copied = torch.rand(100, generator=torch.Generator().manual_seed(2)) < 0.9
    colluding[3] = torch.where(copied, said[1], said[3])
    (pair,) = alike(every, colluding, item)
    assert (pair.first, pair.second, pair.shared) == (1, 3, 100)
    assert pair.correlation > 0.6 > pair.usual


def test_honest_reviewers_are_not_flagged(judged):
    assert alike(*judged) == []


def test_too_few_shared_trades_accuse_nobody(judged):
    every, said, item = judged
    same = said.clone()
    same[3] = said[1]
    who = torch.arange(5).repeat_interleave(100)
    few = item < 15
    verdicts = Verdicts.of_trades(every, same.flatten(), who)
    fitted = fit_reward_model(verdicts, CONFIG, torch.Generator().manual_seed(0))
    part = verdicts.rows(torch.nonzero(few).flatten()[None])
    assert suspiciously_alike(fitted, part, item[few]) == []
