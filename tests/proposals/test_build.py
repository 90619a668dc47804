"""From a policy's output at one bar to proposals: numbers, times, identity."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
import torch

from trading_rlhf.accounting import CostModel
from trading_rlhf.agent import start_position, walk
from trading_rlhf.env import GateConfig, MarketTensors
from trading_rlhf.market import load_sample, next_session, session_open
from trading_rlhf.proposals import HORIZON, Book

COSTS = CostModel()
T = 150


@pytest.fixture
def made(desk, book):
    return desk.maker.at(T, book, "live")


def wanted(desk, book):
    """What the policy itself says."""
    held = book.held.float()[None, None]
    with torch.no_grad():
        return desk.policy.decide(desk.policy.encode(desk.features[T][None]), held)


def test_one_proposal_per_asset_that_moves_in_asset_order(desk, book, made):
    decision = wanted(desk, book)
    target = decision.target[0, 0].double()
    moved = (target - book.held).abs() >= desk.maker.min_trade
    assert len(made) >= 3
    assert [p.symbol for p in made] == [
        s for s, m in zip(desk.bars.symbols, moved, strict=False) if m
    ]
    for proposal in made:
        column = desk.bars.symbols.index(proposal.symbol)
        assert proposal.held == float(book.held[column])
        assert proposal.target == float(target[column])
        assert proposal.confidence == float(decision.gate[0, 0, column])


def test_size_in_weight_shares_and_dollars(desk, made):
    for proposal in made:
        column = desk.bars.symbols.index(proposal.symbol)
        assert proposal.price == desk.bars.raw_close[T, column]
        assert proposal.change == proposal.target - proposal.held
        assert proposal.notional == pytest.approx(abs(proposal.change) * 50_000.0)
        dollars = proposal.shares * float(desk.bars.raw_close[T, column])
        assert dollars == pytest.approx(proposal.change * 50_000.0)


def test_expected_cost_is_the_laws(made):
    for proposal in made:
        q, f = 5e-4, 4e-4
        rate = q + f * (1 + q) if proposal.change > 0 else q + f * (1 - q)
        assert proposal.cost == pytest.approx(rate * abs(proposal.change), rel=1e-9)


def test_the_clocks_four_times(desk, made):
    for proposal in made:
        # The session of 2005-04-07 ends at 16:00 in New York, four hours behind UTC.
        assert desk.bars.dates[T].date().isoformat() == "2005-04-07"
        assert proposal.known_at == datetime(2005, 4, 7, 20, 0, tzinfo=UTC)
        assert proposal.decided_at == proposal.known_at
        assert proposal.earliest_fill_at == datetime(2005, 4, 8, 13, 30, tzinfo=UTC)
        assert proposal.expires_at == proposal.earliest_fill_at
        assert proposal.horizon == HORIZON


def test_the_last_bar_waits_for_the_next_session_of_the_exchange(desk, book):
    last = desk.bars.shape[0] - 1
    expected = session_open(next_session(desk.bars.dates[last]))
    made = desk.maker.at(last, book, "live")
    assert made
    assert {p.earliest_fill_at for p in made} == {expected}


def test_close_only_bars_fill_at_the_next_close(make):
    sp20 = load_sample("sp20").window(0, 200)
    desk = make(sp20)
    made = desk.maker.at(T, Book(torch.zeros(20), torch.ones(20), 1e6), "history")
    assert made
    for proposal in made:
        assert proposal.earliest_fill_at.hour in (20, 21)
        assert proposal.earliest_fill_at.date() == sp20.dates[T + 1].date()


def test_the_open_position(made):
    by_symbol = {p.symbol: p for p in made}
    held = by_symbol["AAPL"]
    assert held.entry_price == pytest.approx(0.8 * held.price)
    assert held.open_profit == pytest.approx(0.25)
    loser = by_symbol["IBM"]
    assert loser.open_profit == pytest.approx(-0.2)
    flat = by_symbol["GOOG"]
    assert flat.entry_price is None
    assert flat.open_profit is None


def test_portfolio_before_and_after_every_proposal(desk, book, made):
    proposal = made[0]
    assert proposal.portfolio == dict(zip(desk.bars.symbols, book.held.tolist(), strict=True))
    expected = dict(proposal.portfolio)
    expected.update({p.symbol: p.target for p in made})
    assert proposal.planned == pytest.approx(expected, abs=1e-7)


def test_the_reviewer_reads_what_the_policy_saw(desk, made):
    for proposal in made:
        column = desk.bars.symbols.index(proposal.symbol)
        assert list(proposal.features) == desk.features[T, column].tolist()
        assert len(proposal.reasons) == 3
        sizes = [abs(reason.contribution) for reason in proposal.reasons]
        assert sizes == sorted(sizes, reverse=True)
        for reason in proposal.reasons:
            place = proposal.feature_names.index(reason.feature)
            assert reason.value == proposal.features[place]


@pytest.mark.parametrize("hole", ["no bar", "no volume"])
def test_an_asset_that_does_not_trade_now_is_not_proposed(make, us4, book, hole):
    """As in a walk: its price is stale, so the trade cannot be judged."""
    tradable, volume = us4.tradable.copy(), us4.volume.copy()
    if hole == "no bar":
        tradable[T, 0] = False
    else:
        volume[T, 0] = 0.0
    gone = replace(us4, tradable=tradable, volume=volume)
    found = [p.symbol for p in make(gone).maker.at(T, book, "live")]
    assert "AAPL" not in found
    assert "IBM" in found


def test_a_resting_side_is_not_proposed(desk, book, made):
    signs = [np.sign(p.change) for p in made]
    same, other = torch.zeros(4), torch.zeros(4)
    for proposal, sign in zip(made, signs, strict=True):
        column = desk.bars.symbols.index(proposal.symbol)
        same[column], other[column] = 3 * sign, -3 * sign
    assert desk.maker.at(T, book, "live", resting=same) == []
    assert desk.maker.at(T, book, "live", resting=other) == made


def test_small_changes_are_not_proposed(make, us4, book, made):
    largest = max(abs(p.change) for p in made)
    maker = make(us4, min_trade=largest * 0.999).maker
    assert [p.change for p in maker.at(T, book, "live")] == [
        p.change for p in made if abs(p.change) == largest
    ]
    assert make(us4, min_trade=0.9).maker.at(T, book, "live") == []


def test_noise_asks_off_the_beaten_track(desk, book, made):
    noise = torch.tensor([1.0, -1.0, 0.0, 0.0])
    noisy = desk.maker.at(T, book, "history", noise=noise)
    change = {p.symbol: p.change for p in noisy}
    plain = {p.symbol: p.change for p in made}
    assert change["AAPL"] > plain["AAPL"]
    assert change["GOOG"] < plain["GOOG"]


def test_how_it_entered_the_queue_is_kept(desk, book):
    made = desk.maker.at(T, book, "live", random_share=False, selection_probability=0.2)
    assert {(p.random_share, p.selection_probability) for p in made} == {(False, 0.2)}


def test_the_same_proposal_has_the_same_id(desk, book, made):
    again = desk.maker.at(T, book, "live")
    assert again == made
    assert len({p.id for p in made}) == len(made)


def test_another_proposal_has_another_id(desk, make, us4, book, made):
    ids = {p.id for p in made}
    richer = replace(book, held=book.held + 0.01)
    others = [
        *desk.maker.at(T, book, "history"),
        *desk.maker.at(T - 1, book, "live"),
        *desk.maker.at(T, richer, "live"),
        *make(us4, policy_id="f" * 16).maker.at(T, book, "live"),
        *make(us4, market_name="other").maker.at(T, book, "live"),
        # The same decision on a corrected price or feature is another proposal.
        *make(replace(us4, raw_close=us4.raw_close * 1.01)).maker.at(T, book, "live"),
        *make(us4, features=desk.features + 1e-3).maker.at(T, book, "live"),
    ]
    assert ids.isdisjoint(p.id for p in others)


class RefusesSales:
    def __call__(self, features, held, target):
        return (target > held).float()


def test_what_is_proposed_is_what_a_walk_shows(desk):
    """Reviewers are asked about the trades that training and backtests put before the desk."""
    market = MarketTensors.from_bars(desk.bars, desk.features.numpy())
    gate, position, shown = GateConfig(cooldown=3, min_trade=desk.maker.min_trade), None, 0
    for t in range(125, 155):
        before = position or start_position(1, 1, 4, torch.float64)
        walked = walk(
            desk.policy, market, torch.tensor([t]), 1, COSTS, gate,
            position=position, decider=RefusesSales(),
        )  # fmt: skip
        book = Book(before.held[0, 0], before.entry[0, 0], 1e6)
        made = desk.maker.at(t, book, "history", resting=before.cooldown[0, 0])
        columns = walked.shown[0, 0, 0].nonzero().flatten().tolist()
        assert [desk.bars.symbols.index(p.symbol) for p in made] == columns
        wanted = walked.target[0, 0, 0, columns].tolist()
        assert [p.target for p in made] == pytest.approx(wanted, abs=1e-6)
        position, shown = walked.end, shown + len(made)
    assert 10 < shown < 110
