"""Proposals as tensors: the asked asset first, the others as held."""

from dataclasses import replace

import pytest
import torch

from trading_rlhf.errors import DataError
from trading_rlhf.feedback.simulated import StyleDesk
from trading_rlhf.market import DEFAULT_FEATURES
from trading_rlhf.proposals import TradeTensors


@pytest.fixture
def made(desk, book):
    return [*desk.maker.at(150, book, "history"), *desk.maker.at(140, book, "history")]


def test_rows_are_proposals(made):
    trades = TradeTensors.of(made)
    for row, proposal in enumerate(made):
        assert trades.features[row].tolist() == list(proposal.features)
        assert float(trades.held[row, 0]) == pytest.approx(proposal.held)
        others = [w for symbol, w in proposal.portfolio.items() if symbol != proposal.symbol]
        assert trades.held[row, 1:].tolist() == pytest.approx(others)
        assert float(trades.target[row]) == pytest.approx(proposal.target)
        assert int(trades.bar[row]) == proposal.bar


def test_a_desk_is_asked_about_the_first_asset_only(made):
    features, held, target = TradeTensors.of(made).full()
    count = len(made)
    assert features.shape == (count, 4, 5)
    assert torch.equal(held[:, 1:], target[:, 1:])
    assert (held[:, 0] != target[:, 0]).all()


def test_another_target_such_as_a_resize(made):
    wanted = [0.123] * len(made)
    assert TradeTensors.of(made, wanted).target.tolist() == pytest.approx(wanted)


def test_approval_is_the_desks_opinion_of_that_trade(desk, book, made):
    """The same as the desk gives when it sees the whole portfolio at once."""
    judge = StyleDesk.of("trend", DEFAULT_FEATURES)
    p = TradeTensors.of(made).approval(judge)
    at_150 = [proposal for proposal in made if proposal.bar == 150]
    target = book.held.float().clone()
    columns = [desk.bars.symbols.index(proposal.symbol) for proposal in at_150]
    target[columns] = torch.tensor([proposal.target for proposal in at_150])
    whole = judge(desk.features[150], book.held.float(), target)
    torch.testing.assert_close(p[: len(at_150)], whole[columns])


@pytest.mark.parametrize(
    "change",
    [
        {"portfolio": {"AAPL": 0.1, "GOOG": 0.1}},
        {"feature_names": ("a",), "features": (1.0,)},
    ],
)
def test_proposals_of_different_markets_do_not_mix(made, change):
    with pytest.raises(DataError, match="same assets and features; got 2 kinds"):
        TradeTensors.of([*made, replace(made[0], **change)])


def test_no_proposals_are_refused():
    with pytest.raises(DataError, match="0 kinds among 0 proposals"):
        TradeTensors.of([])
