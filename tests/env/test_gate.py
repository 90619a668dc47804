"""The approval gate: smooth in training, hard and with a memory everywhere else."""

import pytest
import torch
from pydantic import ValidationError

from trading_rlhf.env import GateConfig, is_cooling, remember_refusals, smooth_gate


def test_the_smooth_gate_is_one_half_at_the_threshold_and_steep_around_it():
    config = GateConfig(threshold=0.6, slope=12.0)
    share = smooth_gate(torch.tensor([0.6, 0.1, 1.0]), config)
    assert share.tolist() == pytest.approx([0.5, 1 / (1 + 2.718281828**6), 0.991837], abs=1e-5)


def test_a_refused_side_rests_for_as_many_bars_as_configured():
    counter, buy = torch.zeros(1), torch.tensor([0.1])
    counter = remember_refusals(counter, buy, torch.tensor([True]), bars=3)
    rested = 0
    while is_cooling(counter, buy).item():
        assert not is_cooling(counter, -buy).item()
        counter = remember_refusals(counter, buy, torch.tensor([False]), bars=3)
        rested += 1
    assert rested == 3
    assert counter.tolist() == [0.0]


def test_counters_carry_the_side_and_wane_one_a_bar():
    counter = torch.tensor([4.0, -4.0, 1.0, -1.0, 0.0, 2.0])
    change = torch.tensor([0.1, 0.1, 0.1, 0.1, 0.1, -0.1])
    refused = torch.tensor([False, False, False, False, False, True])
    assert remember_refusals(counter, change, refused, 10).tolist() == [3, -3, 0, 0, 0, -10]


def test_no_cool_down_remembers_nothing():
    after = remember_refusals(torch.zeros(1), torch.ones(1), torch.tensor([True]), bars=0)
    assert not is_cooling(after, torch.ones(1)).any()


@pytest.mark.parametrize("bad", [{"threshold": 1.0}, {"cooldown": -1}, {"min_trade": -0.1}])
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(ValidationError):
        GateConfig(**bad)
