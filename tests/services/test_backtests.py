"""A run's backtest: what it counts, what it writes and what it says."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.loop.sweep_runs import Inline
from tests.services.tested_run import make_tested_run, silent, stage_of
from trading_rlhf.accounting import ShareCommission
from trading_rlhf.agent import Policy, walk
from trading_rlhf.backtest import (
    count_trials,
    luck_sentence,
    record_trial,
    run_backtest,
    shown_notional,
)
from trading_rlhf.backtest.labels import percent
from trading_rlhf.cli import main
from trading_rlhf.env import MarketTensors
from trading_rlhf.errors import RunError
from trading_rlhf.loop import (
    Context,
    base_trial,
    hold_targets,
    make_cells,
    read_grid,
    run_sweep,
    undisturbed_walks,
)
from trading_rlhf.loop.approved import ApprovedArm
from trading_rlhf.loop.placebo import placebo_walk, stored_placebos
from trading_rlhf.loop.reporting import undisturbed_curves
from trading_rlhf.reward import ModelDesk, RewardModel
from trading_rlhf.services.backtest_approved import approved_sections
from trading_rlhf.services.backtest_arms import run_arms
from trading_rlhf.services.backtest_chapters import optional_chapters
from trading_rlhf.services.backtest_overfitting import overfitting_sentence
from trading_rlhf.services.backtest_report import compare_run
from trading_rlhf.services.backtest_view import backtest_view, read_backtest_page
from trading_rlhf.services.backtests import backtest_run
from trading_rlhf.services.runs import system_clock
from trading_rlhf.services.stages import open_stage
from trading_rlhf.services.status import in_words, status
from trading_rlhf.store import read_events
from trading_rlhf.types import JsonDict

KEY = b"audit key of the tests, 32 bytes"
ARMS = ["buy and hold", "raw policy", "model filter", "shaped + filter", "placebo"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run without a backtest; tests must not change it."""
    return make_tested_run(tmp_path_factory.mktemp("runs") / "desk", KEY, system_clock)


@pytest.fixture(scope="module")
def tested(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, JsonDict]:
    """A copy of it, tested after 235 other trials, and the facts that came back."""
    run = tmp_path_factory.mktemp("tested") / "desk"
    shutil.copytree(trained, run)
    with open_stage(stage_of(run, KEY)) as context, context.store.write() as session:
        for seed in range(235):
            record_trial(
                session, "backtest", config={"arm": "tried"}, data="d", seed=seed,
                actor="system", sharpe=0.1 * np.sin(seed),
            )  # fmt: skip
    table, facts = backtest_run(stage_of(run, KEY))
    assert list(table.index) == ARMS
    return run, facts


@pytest.fixture
def fresh(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained run that a test may change."""
    return Path(shutil.copytree(trained, tmp_path / "desk"))


def trials(run: Path) -> list[JsonDict]:
    with open_stage(stage_of(run, KEY)) as context, context.store.read() as session:
        return [event.payload for event in read_events(session, "trial")]


def words(page: str) -> str:
    """What a reader of the page sees: no scripts, styles or tags."""
    bare = re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.DOTALL)
    return re.sub(r"<[^>]+>", " ", bare)


def test_every_arm_is_a_trial_by_its_policy(tested: tuple[Path, JsonDict]) -> None:
    run, _ = tested
    with open_stage(stage_of(run, KEY)) as context:
        with context.store.read() as session:
            counted = read_events(session, "trial")[235:]
        ids = [context.policy(kind)[1].id for kind in ("base", "shaped")]
        draws = [(draw.policy_id, draw.model_id) for draw in stored_placebos(context)]
        stored, config = context.reward_model(), context.config.model_dump(mode="json")
    assert stored is not None
    assert [event.subject for event in counted] == [*ARMS, "placebo"]
    hold, raw, *walked = (event.payload["config"] for event in counted)
    assert hold["orders"] == "buy and hold"
    assert list(raw) == ["cell"]
    assert [trial["policy"] for trial in walked[:2]] == ids
    assert {trial["filter"] for trial in walked[:2]} == {stored[1].id}
    assert [(trial["policy"], trial["filter"]) for trial in walked[2:]] == draws
    assert len(draws) == len(set(draws)) == 2
    # All that was set can be read there.
    assert all(event.payload["settings"] == config for event in counted)


def test_luck_is_judged_by_the_whole_ledger(tested: tuple[Path, JsonDict]) -> None:
    _, facts = tested
    luck = facts["luck"]["shaped + filter"]
    assert luck["trials"] == 241
    sentence = luck_sentence(luck["dsr"], 241)
    assert facts["summary"][1].startswith(f"Is it luck? {sentence}")
    assert luck["dsr"] < luck["psr"]


def test_the_page_can_be_read_cold_and_fetches_nothing(tested: tuple[Path, JsonDict]) -> None:
    run, facts = tested
    page = (run / "backtest.html").read_text("utf-8")
    seen = words(page)
    for text in (
        "Backtest of desk on us4", "Shaped + filter: ", "Is it luck?", "Equity and drawdown",
        "Month by month", "Trades", "Reviewers", "Survivorship: 4 of 4 assets",
        "learned from a simulated desk", "Against the placebo (", "Break-even",
        "Tested on", "Engine", "approved only (no arm)", "mean of 2 shuffles",
        "Approval against profit", "--frontier", "--sweep grid.yaml", "Account",
    ):  # fmt: skip
        assert text in seen, text
    assert not re.search(r"\b(total_return|annual_return|max_drawdown|hit_rate)\b", seen)
    head = re.sub(r"<script\b.*?</script>", "", page, flags=re.DOTALL)
    assert not re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?!["']?#)[^\s>]*""", head)
    assert json.loads((run / "backtest.json").read_text())["summary"] == facts["summary"]


def test_figures_are_those_of_run_backtest(tested: tuple[Path, JsonDict]) -> None:
    run, facts = tested
    with open_stage(stage_of(run, KEY)) as context:
        window = context.bars.window(context.test_bars.start, context.test_bars.stop)
        hold = run_backtest(
            window, hold_targets(window, context.config.policy.max_gross), context.config.costs,
            max_gross=context.config.policy.max_gross,
        )  # fmt: skip
    for name, value in hold.measures.iloc[0].items():
        assert facts["measures"]["buy and hold"][name] == pytest.approx(value, rel=1e-9)
    filtered, raw = (facts["measures"][name] for name in ("model filter", "raw policy"))
    assert filtered["turnover"] < raw["turnover"]
    assert facts["note"].startswith("Survivorship: ")


def test_the_screen_is_given_what_the_page_shows(tested: tuple[Path, JsonDict]) -> None:
    run, facts = tested
    view = backtest_view(run)
    assert view is not None
    assert list(view.summary) == facts["summary"]
    seen = words((run / "backtest.html").read_text("utf-8"))
    for section in view.sections:
        assert section.title in seen
        for part in section.parts:
            assert (part.figure is None) == bool(part.rows)
            assert all(len(row) == len(part.columns) for row in part.rows)
    assert read_backtest_page(run) == (run / "backtest.html").read_bytes()


def test_a_run_without_a_backtest_has_no_view(fresh: Path) -> None:
    assert backtest_view(fresh) is None
    with pytest.raises(RunError, match="must exist"):
        read_backtest_page(fresh)


@pytest.mark.parametrize("text", ["{", "[]", '{"title": "x"}', "null"])
def test_a_broken_view_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "backtest.json").write_text(text)
    with pytest.raises(RunError, match="Run the backtest again"):
        backtest_view(tmp_path)


def test_a_second_backtest_counts_only_what_is_new_and_before_luck_is_judged(
    tested: tuple[Path, JsonDict], tmp_path: Path
) -> None:
    run = Path(shutil.copytree(tested[0], tmp_path / "desk"))
    _, facts = backtest_run(stage_of(run, KEY), ["frontier"])
    new = trials(run)[241:]
    # Nine thresholds of two policies, and ten prices and targets of which one is the run's own,
    # which is the shaped policy at the run's threshold: the same trial.
    assert len(new) == 18 + 10 - 1
    prices = {
        (trial["config"]["policy"]["shaping"]["price_bps"],
         trial["config"]["policy"]["shaping"]["target_approval"])
        for trial in new if isinstance(trial["config"]["policy"], dict)
    }  # fmt: skip
    assert prices == {
        (price, target) for price in (10.0, 30.0, 100.0) for target in (0.5, 0.7, 0.9)
    }
    assert facts["luck"]["raw policy"]["trials"] == 241 + len(new)
    view = backtest_view(run)
    assert view is not None
    section = next(s for s in view.sections if s.title == "Approval against profit")
    by_threshold, by_price = (part for part in section.parts if part.rows)
    assert (len(by_threshold.rows), len(by_price.rows)) == (18, 10)
    assert by_price.columns[:2] == ("price (bps)", "target approval")
    (own,) = (row for row in by_price.rows if "this run" in row[-1])
    assert own[:2] == ("0", "any")
    # Another look at the same points is no other trial.
    assert backtest_run(stage_of(run, KEY), ["frontier"])[1]["luck"] == facts["luck"]
    # Without the option the chapter stays, as long as it is about these policies.
    assert frontier_lines(run)[-1].startswith("Kept from an earlier backtest")
    with open_stage(stage_of(run, KEY)) as context:
        event = context.newest("policy", "shaped")
        assert event is not None
        context.record("policy", "shaped", {**event.payload, "shaping": None})
        assert optional_chapters(context, [], silent).sections[-1].parts
        context.record("reward_model", "fitted", {"id": "another"})
        reason, offer = optional_chapters(context, [], silent).sections[-1].lines
    assert "other settings, bars or policies" in reason
    assert "--frontier' tries other thresholds" in offer


def frontier_lines(run: Path) -> tuple[str, ...]:
    """Sentences of the chapter after a backtest that did not ask for it."""
    backtest_run(stage_of(run, KEY))
    view = backtest_view(run)
    assert view is not None
    section = next(s for s in view.sections if s.title == "Approval against profit")
    assert [len(part.rows) for part in section.parts if part.rows] == [18, 10]
    assert any(part.figure is not None for part in section.parts)
    return section.lines


def test_a_sweep_of_the_runs_own_settings_is_the_raw_policys_trial(
    tested: tuple[Path, JsonDict], tmp_path: Path
) -> None:
    run = Path(shutil.copytree(tested[0], tmp_path / "desk"))
    grid = tmp_path / "grid.yaml"
    grid.write_text("seeds: [0, 1]\n")
    with open_stage(stage_of(run, KEY)) as context:
        cells = make_cells(read_grid(grid), context.config, context.bars.sha256)
        swept = run_sweep(context, cells, lambda _: Inline(), silent)
        assert [result.error for result in swept.results] == [None, None]
        with context.store.read() as session:
            # The run's own seed has been looked at; the other has not.
            assert count_trials(session).count == 241 + 1
        assert "sweeps hold 2" in overfitting_sentence(context)
        # Settings changed after the training make another strategy, but no cell of any sweep.
        base = context.policy("base")[1].id
        dear = context.config.model_copy(update={"costs": context.config.costs.scaled(2.0)})
        assert list(base_trial(context, base)) == ["cell"]
        assert base_trial(replace(context, config=dear), base)["policy"] == base


def test_buy_and_hold_keeps_to_the_runs_limit_and_account(fresh: Path) -> None:
    with open_stage(stage_of(fresh, KEY)) as context:
        stored = context.reward_model()
        assert stored is not None
        base, shaped = (context.policy(kind)[0] for kind in ("base", "shaped"))
        by_share = context.config.costs.model_copy(update={"share_commission": ShareCommission()})
        features = context.market.features.numpy()
        market = MarketTensors.for_costs(context.bars, features, by_share)
        curves = {}
        for limit, equity in ((0.5, 1e6), (0.98, 1e6), (0.98, 2e3)):
            policy = context.config.policy.model_copy(update={"max_gross": limit})
            changed = {"policy": policy, "equity": equity, "costs": by_share}
            config = context.config.model_copy(update=changed)
            own = replace(context, config=config, market=market)
            curve = undisturbed_curves(own, base, stored[0], shaped)["buy and hold"]
            curves[limit, equity] = curve.iloc[-1] - 1.0
            window = own.bars.window(own.test_bars.start, own.test_bars.stop)
            hold = run_arms(own, window)[0]["buy and hold"].targets[0, 0]
            assert hold.sum() == pytest.approx(limit)
    assert curves[0.5, 1e6] / curves[0.98, 1e6] == pytest.approx(0.5 / 0.98, rel=1e-3)
    # A minimum of a dollar an order weighs on a small account.
    assert curves[0.98, 1e6] - curves[0.98, 2e3] == pytest.approx(4 / 2e3, rel=0.6)


@pytest.mark.parametrize("last", [100, 20, None])
def test_what_was_approved_is_measured_from_its_first_trade(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, last: int | None
) -> None:
    """Before it the arm is in cash, which would be compared with other arms' profits."""
    with open_stage(stage_of(fresh, KEY)) as context:
        targets = np.full((len(context.test_bars), context.bars.shape[1]), np.nan)
        if last is not None:
            targets[-last, 0] = 0.5
        arm = ApprovedArm(targets, 60, 30, "simulated", "only what was approved", "30 of 60.")
        monkeypatch.setattr("trading_rlhf.services.backtest_arms.approved_arm", lambda *_: arm)
        compared = compare_run(context, silent)
        (section,) = approved_sections(context, compared)
    if last is None:
        assert section.lines == ["Nothing was approved, so this arm holds cash throughout."]
        return
    first = compared.result.dates[-last].date()
    assert section.lines[0].startswith(f"Approved trades begin on {first}, {last - 1} bars before")
    figures = section.parts[0].frame
    total = compared.measures.loc["approved only", "total_return"]
    assert figures.loc["approved only", "Total return"] == percent(total)
    hold = compared.equity["buy and hold"]
    since = percent(hold.iloc[-1] / hold.iloc[-last] - 1.0)
    assert figures.loc["buy and hold", "Total return"] == since
    assert len(section.parts) == (2 if last == 100 else 1)
    if last == 100:
        assert section.parts[1].frame.index[0] == "approved only against buy and hold"


def test_a_placebo_of_older_answers_is_no_arm(fresh: Path) -> None:
    """It must come from the answers that the newest reward model was fitted on."""
    with open_stage(stage_of(fresh, KEY)) as context:
        kept = stored_placebos(context)
        assert len(kept) == 2
        newest = context.newest("reward_model", "fitted")
        assert newest is not None
        assert newest.payload["id"] not in {draw.model_id for draw in kept}
        context.record("reward_model", "fitted", {**newest.payload, "id": "later"})
        assert stored_placebos(context) == []


def test_every_draw_of_the_placebo_shows_as_much_as_the_shaped_arm(fresh: Path) -> None:
    with open_stage(stage_of(fresh, KEY)) as context:
        stored, kept = context.reward_model(), stored_placebos(context)
        assert stored is not None
        assert len(kept) == 2
        base, shaped = (context.policy(kind)[0] for kind in ("base", "shaped"))
        arm = undisturbed_walks(context, base, stored[0], shaped)["shaped, reward model only"]
        wanted = shown_notional(arm, 0)
        walked, thresholds = placebo_walk(context, kept, arm)
        for draw, placebo in enumerate(kept):
            shown = shown_notional(walked, draw)
            again = walk_at(context, placebo.policy, placebo.model, thresholds[draw])
            own = walk_at(context, placebo.policy, placebo.model, context.config.gate.threshold)
            assert shown == pytest.approx(again)
            assert abs(shown - wanted) <= abs(own - wanted)


def walk_at(context: Context, policy: Policy, model: RewardModel, threshold: float) -> float:
    """Notional that a filter shows at a threshold."""
    walked = walk(
        policy, context.market, torch.tensor([context.test_bars.start]),
        len(context.test_bars) - 1, context.config.costs, context.config.gate,
        model=ModelDesk(model), thresholds=torch.tensor([threshold]),
        capital=context.config.equity,
    )  # fmt: skip
    return shown_notional(walked, 0)


def test_the_command_prints_plain_words_within_100_columns(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRLHF_AUDIT_KEY", KEY.decode())
    monkeypatch.setenv("TRLHF_SESSION_KEY", "session key of the tests, 32 long")
    monkeypatch.setattr("trading_rlhf.cli.runs.progress_bars", _no_bars)
    with pytest.raises(SystemExit) as ended:
        main(["backtest", "--run", str(fresh)])
    said = capsys.readouterr().out
    assert not ended.value.code
    assert max(map(len, said.splitlines())) <= 100
    assert "Sharpe (yearly)" in said
    assert "Is it luck? DSR" in said
    assert "_" not in said.replace(str(fresh), "")


def test_a_status_in_words_shortens_ids_and_hides_no_figure(trained: Path) -> None:
    facts = status(stage_of(trained, KEY))
    shown = in_words(facts)
    assert "3,270 bars to 2013-03-01" in shown["Data"]
    assert "0 of people" in shown["Answers"]
    assert "30 more until the first fit" in shown["Answers"]
    assert shown["Policies"].startswith(f"base {facts['policies'][0]['id'][:8]}, made 20")
    assert facts["policies"][0]["id"] not in shown["Policies"]
    assert "from 40 simulated answers" in shown["Reward model"]
    assert "_" not in "".join(value for name, value in shown.items() if name != "Run")


class _no_bars:  # noqa: N801
    def __enter__(self) -> Callable[[str, int, int], None]:
        return silent

    def __exit__(self, *_error: object) -> None:
        return None
