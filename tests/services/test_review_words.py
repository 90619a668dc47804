from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.services.desk_run import make_proposal
from trading_rlhf.market import Bars
from trading_rlhf.services.review_words import ago, dollars, headline, percent, until, weights, when

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("weight", "text"),
    [(0.074, "7.4%"), (-0.02, "-2.0%"), (-0.0001, "0.0%"), (0.0, "0.0%"), (-0.0006, "-0.1%")],
)
def test_percent(weight: float, text: str) -> None:
    assert percent(weight) == text


@pytest.mark.parametrize(
    ("held", "target", "verb"),
    [
        (0.0, 0.05, "Buy"),
        (0.03, 0.074, "Buy"),
        (0.05, 0.02, "Sell"),
        (0.05, 0.0, "Sell all"),
        (0.05, -0.02, "Sell and short"),
        (0.0, -0.02, "Short"),
        (-0.02, -0.05, "Short"),
        (-0.05, -0.02, "Cover"),
        (-0.05, 0.0, "Cover"),
        (-0.05, 0.02, "Cover and buy"),
    ],
)
def test_the_verb_is_the_one_a_desk_would_use(
    bars: Bars, held: float, target: float, verb: str
) -> None:
    proposal = replace(
        make_proposal(bars, 2400, "MSFT", "live", target=0.074), held=held, target=target
    )
    assert headline(proposal, target, "Asset B", masked=True) == f"{verb} Asset B"


def test_a_live_trade_names_shares_and_a_masked_one_does_not(bars: Bars) -> None:
    proposal = replace(
        make_proposal(bars, 2400, "MSFT", "live", target=0.074),
        held=0.03,
        target=0.074,
        price=25.0,
        equity=1_000_000.0,
    )
    assert headline(proposal, 0.074, "MSFT", masked=False) == "Buy 1,760 MSFT"
    assert headline(proposal, 0.03008, "MSFT", masked=False) == "Buy 3.20 MSFT"
    assert headline(proposal, 0.074, "Asset A", masked=True) == "Buy Asset A"
    assert weights(0.03, 0.074) == "3.0% → 7.4% of equity"
    assert weights(0.0, 0.0021) == "0.00% → 0.21% of equity"


def test_money_and_times() -> None:
    assert [dollars(x) for x in (950, 39_800, 1.2e6, 3e9)] == ["$950", "$39.8k", "$1.2m", "$3.0bn"]
    assert when(datetime(2009, 9, 28, 13, 30, tzinfo=UTC)) == "Mon 28 Sep 09:30 New York"
    assert until(NOW + timedelta(hours=2, minutes=5), NOW) == "in 2 h 5 min"
    assert until(NOW + timedelta(minutes=4), NOW) == "in 4 min"
    assert until(NOW + timedelta(days=3), NOW) == "in 3 days"
    assert until(NOW, NOW) == "expired"
    assert ago(NOW - timedelta(seconds=20), NOW) == "just now"
    assert ago(NOW - timedelta(minutes=5), NOW) == "5 min ago"
    assert ago(NOW - timedelta(hours=3), NOW) == "3 h ago"
    assert ago(NOW - timedelta(days=4), NOW) == "4 days ago"
