import json
from pathlib import Path

import pytest

from trading_rlhf.errors import RunError
from trading_rlhf.services.results import headline, read_report, report_path, summary

ARMS = ("base", "base_filter", "shaped", "oracle", "placebo")
FIGURES = (
    *("approval", "approval_count", "profit_through_gate", "sharpe", "sharpe_standard_error"),
    *("reviews_per_step", "turnover"),
)


def whole_summary() -> dict[str, object]:
    return {
        **{name: {arm: 0.5 + 0.01 * i for i, arm in enumerate(ARMS)} for name in FIGURES},
        "simulated": True,
        "data": {"name": "us4", "symbols": ["AAPL", "IBM"], "bars": 3270, "sha256": "ab"},
        "answers": 300,
        "reward_model": {"accuracy": 0.84, "ceiling": 0.9},
        "signals": 12,
        "fills": 11,
        "audit": {"ok": True},
        "seed": 0,
    }


def test_nothing_run_yet_is_not_an_error(tmp_path: Path) -> None:
    assert summary(tmp_path) is None
    assert headline(tmp_path) is None
    assert report_path(tmp_path) is None
    with pytest.raises(RunError, match="backtest"):
        read_report(tmp_path)


def test_a_backtest_alone_is_the_report_until_the_loop_has_run(tmp_path: Path) -> None:
    (tmp_path / "backtest.html").write_text("a backtest")
    assert read_report(tmp_path) == b"a backtest"
    (tmp_path / "report.html").write_text("the loop")
    assert read_report(tmp_path) == b"the loop"


def test_the_headline_holds_a_row_per_arm_and_says_what_it_rests_on(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(json.dumps(whole_summary()))
    shown = headline(tmp_path)
    assert shown is not None
    assert shown.simulated
    assert len(shown.rows) == len(ARMS)
    assert {len(row) for row in shown.rows} == {len(shown.columns)}
    assert shown.rows[2][0] == "shaped + filter"
    assert dict(shown.facts)["Reward model accuracy"] == "0.84 (reviewers' own ceiling 0.90)"
    assert dict(shown.facts)["Paper trading"] == "12 signals, 11 fills"
    assert any("shaped 0.52" in line for line in shown.sentences)


def test_a_summary_without_arms_shows_its_facts(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(json.dumps({"answers": 31, "audit": {"ok": False}}))
    shown = headline(tmp_path)
    assert shown is not None
    assert not shown.simulated
    assert shown.rows == ()
    assert dict(shown.facts) == {"Answers": "31", "Audit chain": "broken"}


@pytest.mark.parametrize("text", ["{", "[1]", '{"approval": {}}', '{"approval": 3}'])
def test_a_broken_summary_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "summary.json").write_text(text)
    with pytest.raises(RunError):
        headline(tmp_path)


def test_the_report_is_read_as_it_lies(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_bytes(b"<p>report</p>")
    assert report_path(tmp_path) == tmp_path / "report.html"
    assert read_report(tmp_path) == b"<p>report</p>"
