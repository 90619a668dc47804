from datetime import timedelta
from pathlib import Path

import pytest
import torch

from trading_rlhf.accounting import settle
from trading_rlhf.broker import Account, LimitsConfig, Order, check_limits

EQUITY = 1_000_000.0


@pytest.fixture
def limits(tmp_path: Path) -> LimitsConfig:
    return LimitsConfig(halt_file=tmp_path / "HALT")


@pytest.fixture
def check(limits, clock):
    def run(signals, weights=None, **changes):
        previous = changes.pop("previous", EQUITY)
        options = {k: changes.pop(k) for k in ("working", "prices") if k in changes}
        account = Account(EQUITY, previous, weights or {})
        return check_limits(signals, account, limits.model_copy(update=changes), clock(), **options)

    return run


def test_a_modest_trade_passes_unchanged(check, make_signal) -> None:
    signal = make_signal()
    assert check([signal], {"AAPL": 0.02}) == ([signal], [])


def test_the_halt_file_stops_everything(check, make_signal, limits) -> None:
    limits.halt_file.write_text("broker is down")
    sale = make_signal(symbol="IBM", held=0.1, target=0.0, proposal_id="p2")
    signals, refusals = check([make_signal(), sale], {"IBM": 0.1})
    assert signals == []
    assert [r.sentence for r in refusals] == [
        f"{name} was not sent because the halt file {limits.halt_file} exists."
        for name in ("AAPL", "IBM")
    ]


@pytest.mark.parametrize(
    ("signal", "weights", "changes", "sentence"),
    [
        ({}, {}, {"max_order": 0.07}, "the order is 8.0% of equity, above 7.0%"),
        ({}, {"AAPL": 0.02}, {"max_position": 0.09}, "the position would be 10.0% of equity"),
        ({}, {}, {"previous": EQUITY / 0.94}, "the account lost 6.0%"),
        ({}, {}, {"prices": {"AAPL": 221.0}}, "its price moved by +10.5%"),
        ({}, {}, {"prices": {"AAPL": 179.0}}, "its price moved by -10.5%"),
        ({}, {"IBM": 0.98}, {}, "gross exposure leaves no room under 98.0%"),
    ],
)
def test_a_breach_is_refused(check, make_signal, signal, weights, changes, sentence) -> None:
    signals, (refusal,) = check([make_signal(**signal)], weights, **changes)
    assert signals == []
    assert sentence in refusal.sentence


@pytest.mark.parametrize(
    "changes",
    [{"max_order": 0.07}, {"max_position": 0.01}, {"previous": EQUITY * 2}, {"max_gross": 0.1}],
)
def test_a_trade_that_only_shrinks_passes_the_caps(check, make_signal, changes) -> None:
    sale = make_signal(held=0.3, target=0.1)
    assert check([sale], {"AAPL": 0.3}, **changes) == ([sale], [])


def test_beyond_zero_a_sale_is_a_new_short(check, make_signal) -> None:
    flip = make_signal(held=0.1, target=-0.2)
    signals, _ = check([flip], {"AAPL": 0.1}, max_order=0.25)
    assert signals == []


def test_stale_and_expired_and_early_signals_are_refused(check, make_signal, clock) -> None:
    week = make_signal(known_at=clock() - timedelta(days=6), decided_at=clock() - timedelta(days=6))
    expired = make_signal(symbol="IBM", valid_until=clock() - timedelta(minutes=1))
    early = make_signal(symbol="MSFT", known_at=clock() + timedelta(minutes=1))
    signals, refusals = check([week, expired, early])
    assert signals == []
    assert "its prices are older than 5 days" in refusals[0].sentence
    assert "it was valid until 2026-01-05 11:59 UTC" in refusals[1].sentence
    assert "has not come yet" in refusals[2].sentence


def test_too_many_orders_keep_the_closing_ones(check, make_signal) -> None:
    buy = make_signal()
    sale = make_signal(symbol="IBM", held=0.1, target=0.0, proposal_id="p2")
    signals, (refusal,) = check([buy, sale], {"IBM": 0.1}, max_orders=1)
    assert [s.symbol for s in signals] == ["IBM"]
    assert "1 orders for one session are the limit" in refusal.sentence


def test_two_signals_for_one_asset_do_not_pass_together(check, make_signal) -> None:
    signals, (refusal,) = check([make_signal(), make_signal(proposal_id="p2")])
    assert [s.proposal_id for s in signals] == ["p1"]
    assert "another signal of this batch" in refusal.sentence


def test_gross_is_shared_as_the_law_settles_it(check, make_signal) -> None:
    weights = {"AAPL": 0.2, "IBM": 0.3, "MSFT": 0.4}
    wanted = {"AAPL": 0.15, "IBM": -0.2, "GOOG": 0.25}
    signals = [
        make_signal(
            symbol=name,
            proposal_id=name,
            held=weights.get(name, 0.0),
            target=weights.get(name, 0.0) + change,
        )
        for name, change in wanted.items()
    ]
    kept, refusals = check(signals, weights)
    assert refusals == []
    names = ["AAPL", "IBM", "MSFT", "GOOG"]
    held = torch.tensor([weights.get(n, 0.0) for n in names], dtype=torch.float64)
    change = torch.tensor([wanted.get(n, 0.0) for n in names], dtype=torch.float64)
    law = dict(zip(names, settle(held, change, 0.98).tolist(), strict=True))
    assert {s.symbol: s.target for s in kept} == pytest.approx(
        {n: law[n] for n in wanted}, abs=1e-12
    )
    for signal in kept:
        assert signal.shares == pytest.approx(abs(signal.change) * EQUITY / signal.price)
    assert kept[0].symbol == "IBM"
    assert kept[0].note == ""
    assert kept[1].note == (
        "scaled from 750.00 to 525.00 shares because gross exposure may not exceed 98.0%; "
        "needs the sale of IBM"
    )


def test_a_sale_that_is_not_needed_is_not_mentioned(check, make_signal) -> None:
    buy = make_signal()
    sale = make_signal(symbol="IBM", held=0.1, target=0.0, proposal_id="p2")
    kept, _ = check([buy, sale], {"IBM": 0.1})
    assert [s.note for s in kept] == ["", ""]


def test_closing_trades_come_first_then_shorts_then_buys(check, make_signal) -> None:
    buy = make_signal(symbol="AAPL", held=0.0, target=0.1)
    short = make_signal(symbol="GOOG", held=0.0, target=-0.1)
    close = make_signal(symbol="IBM", held=0.1, target=0.0)
    kept, _ = check([buy, short, close], {"IBM": 0.1})
    assert [s.symbol for s in kept] == ["IBM", "GOOG", "AAPL"]


def test_working_orders_use_room(check, make_signal) -> None:
    working = Order.from_signal(make_signal(symbol="IBM", proposal_id="p2", held=0.0,
                                            target=0.94), "paper")  # fmt: skip
    (signal,), _ = check([make_signal(held=0.0, target=0.08)], working=[working])
    assert signal.target == pytest.approx(0.04)


def test_a_signal_that_already_made_an_order_keeps_its_size(check, make_signal) -> None:
    signal = make_signal(held=0.0, target=0.5)
    (cut,), _ = check([signal], {"IBM": 0.9})
    assert cut.target == pytest.approx(0.08)
    working = [Order.from_signal(cut, "paper")]
    kept, _ = check([signal], {"IBM": 0.95}, working=working)
    assert [Order.from_signal(s, "paper") for s in kept] == working


def test_working_orders_count_for_the_session(check, make_signal) -> None:
    working = [Order.from_signal(make_signal(symbol="IBM", proposal_id="p2"), "paper")]
    signals, (refusal,) = check([make_signal()], working=working, max_orders=1)
    assert signals == []
    assert "1 orders for one session are the limit" in refusal.sentence
