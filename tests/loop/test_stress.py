"""Stress of a run: what it measures, what it leaves behind, and what it refuses."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.loop.conftest import KEY, present, silent
from trading_rlhf.backtest import count_trials
from trading_rlhf.env import CHALLENGES, LEVELS, challenge
from trading_rlhf.errors import ConfigError, RunError
from trading_rlhf.loop import (
    SettableClock,
    Stressed,
    StressPlan,
    open_context,
    stress,
    stress_sentences,
    stress_table,
    undisturbed_walks,
)
from trading_rlhf.loop.stress_report import stress_plot
from trading_rlhf.loop.stress_score import Cell, Measured, score_cell, undisturbed_cell
from trading_rlhf.services.secrets import Secrets
from trading_rlhf.services.stages import Stage
from trading_rlhf.services.stress import stress_run

SECRETS = Secrets(KEY, "a session key for tests, long enough")
QUICK = StressPlan(
    names=("observation_noise", "drifting_costs", "constraints", "reward_weights"),
    levels=("easy", "hard"),
    draws=3,
)


@pytest.fixture(scope="module")
def context(demo_run: Path) -> Iterator:
    opened = open_context(demo_run, KEY, SettableClock(present))
    yield opened
    opened.store.close()


@pytest.fixture(scope="module")
def result(context) -> Stressed:
    return stress(context, QUICK, silent)


def cell(result: Stressed, name: str, level: str) -> Cell:
    (found,) = (c for c in result.cells if (c.name, c.level) == (name, level))
    return found


def test_undisturbed_is_the_plain_walk(context, result: Stressed) -> None:
    base, record = context.policy("base")
    walked = undisturbed_walks(context, base, None, None)["raw policy"]
    growth = walked.log_growth[:, 0, 0]
    assert result.policy_id == record.id
    assert result.undisturbed.score == pytest.approx(1e4 * float(growth.mean()), rel=1e-9)
    assert result.retrained is None


def test_every_challenge_and_level_is_there_once(result: Stressed) -> None:
    found = [(c.name, c.level) for c in result.cells]
    assert found == [(name, level) for name in QUICK.names for level in QUICK.levels]
    assert [c.draws for c in result.cells] == [3, 3, 1, 1, 1, 1, 1, 1]


def test_changes_are_against_the_undisturbed_score(result: Stressed) -> None:
    for c in result.cells:
        assert c.change == pytest.approx(c.score - result.undisturbed.score, abs=1e-9)
    assert cell(result, "observation_noise", "hard").change != 0.0
    costs = [cell(result, "drifting_costs", level) for level in QUICK.levels]
    assert 0 > costs[0].change > costs[1].change
    # The same trades at other costs: a sure loss, known far better than the score itself.
    assert costs[1].change < -2 * costs[1].change_error
    assert costs[1].change_error < costs[1].score_error / 3


def test_limits_are_watched_and_change_nothing(result: Stressed) -> None:
    easy, hard = (cell(result, "constraints", level) for level in QUICK.levels)
    assert easy.change == hard.change == 0.0
    assert easy.violations is not None
    assert hard.violations is not None
    assert 0 <= easy.violations < hard.violations <= 1


def test_other_aims_score_the_same_walk(result: Stressed) -> None:
    easy = cell(result, "reward_weights", "easy")
    assert easy.turnover == result.undisturbed.turnover
    assert easy.sharpe == pytest.approx(result.undisturbed.sharpe)
    assert easy.score < result.undisturbed.score


def test_the_same_seed_is_the_same_result(context, result: Stressed) -> None:
    plan = replace(QUICK, names=QUICK.names[:1], levels=("hard",))
    again, other = (stress(context, replace(plan, seed=seed), silent) for seed in (0, 1))
    assert again.cells == [cell(result, "observation_noise", "hard")]
    assert other.cells != again.cells


def test_a_desk_filters(context, result: Stressed) -> None:
    plan = replace(QUICK, names=("drifting_costs",), levels=("hard",), desk=True)
    filtered = stress(context, plan, silent)
    assert filtered.undisturbed.turnover < result.undisturbed.turnover


def test_table_and_plot_show_every_cell(result: Stressed) -> None:
    table = stress_table(result)
    assert list(table.columns) == list(QUICK.levels)
    assert len(table) == len(QUICK.names)
    assert table.loc["limits watched", "hard"].startswith("over in ")
    figure = stress_plot(result)
    assert np.shape(figure.data[0].z) == (4, 2)
    labels = [(note.y, note.x, note.text) for note in figure.layout.annotations]
    for made in result.cells:
        assert (made.label, made.level, made.what) in labels
    assert len(labels) == 2 * len(result.cells)


def measured(mean: float, spread: float, draws: int = 1, seed: int = 0) -> Measured:
    noise = np.random.default_rng(seed).standard_normal((1, 800))
    own = np.random.default_rng(seed + 1).standard_normal((draws, 800))
    score = mean + spread * (noise - noise.mean()) + 0.1 * (own - own.mean(1, keepdims=True))
    return Measured(score, score * 1e-4, 0.1)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def test_the_standard_error_is_that_of_independent_bars() -> None:
    reference = undisturbed_cell(measured(1.0, 10.0), False, 252.0, generator())
    assert reference.score == pytest.approx(1.0)
    assert reference.score_error == pytest.approx(10.0 / 800**0.5, rel=0.15)
    assert reference.sharpe == pytest.approx(0.1 * 252**0.5, rel=0.1)


def test_what_is_not_there_cannot_be_kept() -> None:
    for mean, kept in ((0.1, None), (5.0, 0.4)):
        before = measured(mean, 10.0)
        reference = undisturbed_cell(before, False, 252.0, generator())
        after = Measured(before.score - 0.6 * mean, before.returns, 0.1)
        hard = challenge("observation_noise", "hard")
        made = score_cell(hard, "hard", after, before, reference, 252.0, generator())
        assert made.kept == (None if kept is None else pytest.approx(kept))
        # The bars are the same, so the change is sure although the score is not.
        assert made.change_error == pytest.approx(0.0, abs=1e-9)
        result = Stressed("p", reference, None, 1.0, [made])
        assert ("nothing to keep" in stress_sentences(result)[0]) is (kept is None)
        assert ("%" in stress_table(result).iloc[0, 0]) is (kept is not None)


def test_few_draws_do_not_look_surer_than_they_are() -> None:
    errors = []
    for seed in range(200):
        own = np.random.default_rng(seed).standard_normal((3, 1)) * np.ones((3, 60))
        one = Measured(own, own, 0.1)
        errors.append(undisturbed_cell(one, False, 252.0, generator()).score_error ** 2)
    assert np.mean(errors) == pytest.approx(1 / 3, rel=0.2)


@pytest.fixture
def stage(demo_run: Path, tmp_path: Path) -> Stage:
    copy = tmp_path / "run"
    shutil.copytree(demo_run, copy)
    return Stage(copy, SECRETS, None, {"train.iterations": 2}, silent)


def test_a_stress_is_written_counted_and_recorded(stage: Stage) -> None:
    seen: dict[str, tuple[int, int]] = {}
    stage = replace(stage, progress=lambda name, done, total: seen.update({name: (done, total)}))
    only = ("regime_shift", "irrelevant_features", "limited_history")
    context = open_context(stage.run, KEY, SettableClock(present))
    with context.store.read() as session:
        before = count_trials(session).count
    context.store.close()
    _, sentences, figures = stress_run(
        stage, policy="base", only=only, levels=["medium"], members=2
    )
    assert seen == {"walking the challenges": (1, 1), "retraining": (6, 6)}
    assert json.loads((stage.run / "stress.json").read_text())["challenges"] == json.loads(
        json.dumps(figures["challenges"])
    )
    page = (stage.run / "stress.html").read_text()
    assert "limited history *" in page
    assert 'src="http' not in page
    assert any(line.startswith("Buy and hold under another regime: medium ") for line in sentences)
    retrained = {row["name"]: row["retrained"] for row in figures["challenges"]}
    assert retrained == dict(zip(only, (False, True, True), strict=True))
    context = open_context(stage.run, KEY, SettableClock(present))
    try:
        event = context.newest("policy", "stressed")
        assert event is not None
        assert event.subject == figures["policy"]
        with context.store.read() as session:
            assert count_trials(session).count == before + 1
    finally:
        context.store.close()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"only": ["earthquake"]}, "earthquake"),
        ({"levels": ["brutal"]}, "brutal"),
        ({"draws": 0}, "draws must be 1 to 200"),
        ({"draws": 1_000_000}, "draws must be 1 to 200"),
        ({"members": 21}, "members 1 to 20"),
        ({"seed": -1}, "a seed is 0 or more"),
    ],
)
def test_a_wrong_plan_is_refused_before_anything_runs(
    stage: Stage, settings: dict, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        stress_run(stage, policy="base", **settings)
    assert not (stage.run / "stress.html").exists()


def test_a_run_without_what_is_asked_for_is_refused(stage: Stage, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    shutil.copy(stage.run / "config.yaml", empty)
    bare = replace(stage, run=empty)
    with pytest.raises(RunError, match="the run needs a base policy"):
        stress_run(bare, policy="base")
    with pytest.raises(RunError, match="needs a shaped policy"):
        stress_run(bare, policy="shaped")
    assert not (empty / "stress.json").exists()


def test_the_plan_knows_every_challenge() -> None:
    assert StressPlan().names == tuple(CHALLENGES)
    assert StressPlan().levels == LEVELS
