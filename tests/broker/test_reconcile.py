import pytest

from trading_rlhf.accounting import CostModel
from trading_rlhf.broker import PaperBroker, advance_session, reconcile, send
from trading_rlhf.market import load_sample


@pytest.fixture
def traded(store, signal_for, clock):
    """An account that traded AAPL and MSFT over the split of AAPL on 2005-02-28."""
    bars = load_sample("us4")
    start = bars.dates.get_loc("2005-02-22")
    broker = PaperBroker(CostModel(), 1_000_000.0)
    for t in range(start, start + 8):
        signals = [
            signal_for(bars, t, name, change * (-1) ** t, broker.books.equity)
            for name, change in (("AAPL", 0.2), ("MSFT", -0.3))
        ]
        clock.set(signals[0].decided_at)
        assert len(send(store, broker, signals, clock).sent) == 2
        advance_session(store, broker, bars, t + 1)
    return broker


def test_positions_from_fills_agree_over_a_split(store, traded) -> None:
    result = reconcile(store, traded)
    assert result.agrees
    assert {row.symbol for row in result.rows} <= {"AAPL", "MSFT"}
    assert (
        result.sentence == f"All {len(result.rows)} positions of paper agree with the stored fills."
    )


def test_drift_is_named(store, traded) -> None:
    held = traded.positions()
    traded.positions = lambda: held | {"AAPL": held.get("AAPL", 0.0) + 10, "IBM": 5.0}
    result = reconcile(store, traded)
    assert not result.agrees
    table = result.table()
    assert table.loc["AAPL", "drift"] == pytest.approx(10.0)
    assert table.loc["IBM", "stored"] == 0.0
    assert table["agrees"].to_dict() == {"AAPL": False, "IBM": False, **(
        {"MSFT": True} if "MSFT" in table.index else {})}  # fmt: skip
    assert result.sentence.startswith("paper has drifted: AAPL holds ")
    assert "IBM holds 5.0000 shares where the fills make 0.0000" in result.sentence


def test_an_untouched_account_agrees(store) -> None:
    result = reconcile(store, PaperBroker(CostModel()))
    assert result.agrees
    assert len(result.table()) == 0
