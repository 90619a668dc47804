"""What is mixed into a run's trainings: a pre-trained encoder, and the resizes of its reviewers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.loop.conftest import KEY, present, silent
from trading_rlhf.agent import Demonstrations, Policy, distance_from_wanted
from trading_rlhf.config import read_config
from trading_rlhf.errors import ConfigError
from trading_rlhf.feedback import ReviewDesk, Submission
from trading_rlhf.loop import (
    Context,
    Learned,
    SettableClock,
    ask_about_history,
    learn,
    open_context,
    shape_policies,
    simulated_desk,
    train_base,
    wanted_weights,
)
from trading_rlhf.market import load_sample, write_bars
from trading_rlhf.reward import ModelDesk

PRETRAINED = {"train.pretrain": {"iterations": 12, "batch": 16}}
PARTS = (0.1, 0.3)
QUICK = {
    "train.iterations": 20, "train.batch": 8, "train.horizon": 6, "shape.iterations": 30,
    "shape.batch": 8, "shape.horizon": 6, "shape.imitation": 30.0, "fit.iterations": 20,
}  # fmt: skip


@pytest.fixture(scope="module")
def bars_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bars") / "us4.parquet"
    write_bars(load_sample("us4").window(1200, 1800), path)
    return path


def opened(folder: Path, bars_file: Path, **settings: object) -> Context:
    folder.mkdir(parents=True, exist_ok=True)
    config = read_config(None, {"data": str(bars_file), **QUICK, **settings})
    return open_context(folder, KEY, SettableClock(present), config)


def weights(policy: Policy) -> Tensor:
    return torch.cat([p.detach().flatten() for p in policy.parameters()])


# A pre-trained encoder


class KilledError(Exception):
    """In place of a signal."""


class Stages:
    """Progress that is killed at a step of a stage."""

    def __init__(self, stage: str = "", at: int = 0) -> None:
        self.killed_in, self.at = stage, at
        self.seen: list[str] = []

    def __call__(self, stage: str, done: int, total: int) -> None:
        self.seen.append(stage)
        if (stage, done) == (self.killed_in, self.at):
            raise KilledError


def base(folder: Path, bars_file: Path, progress=silent, **settings: object) -> Tensor:
    context = opened(folder, bars_file, **settings)
    try:
        train_base(context, progress)
        return weights(context.policy("base")[0])
    finally:
        context.store.close()


def test_a_base_policy_starts_from_a_pretrained_encoder(tmp_path: Path, bars_file: Path) -> None:
    plain, off = Stages(), Stages()
    without = base(tmp_path / "a", bars_file, off)
    with_it = base(tmp_path / "b", bars_file, plain, **PRETRAINED)
    assert plain.seen[:12] == ["pre-training the encoder"] * 12
    assert set(off.seen) == {"training the base policy"} == set(plain.seen[12:])
    assert not torch.equal(without, with_it)


@pytest.mark.parametrize(
    ("stage", "at", "again"),
    [("pre-training the encoder", 7, True), ("training the base policy", 1, False)],
)
def test_killed_in_or_after_it_a_run_ends_at_the_same_bits(
    tmp_path: Path, bars_file: Path, stage: str, at: int, again: bool
) -> None:
    whole = base(tmp_path / "whole", bars_file, **PRETRAINED)
    with pytest.raises(KilledError):
        base(tmp_path / "killed", bars_file, Stages(stage, at), **PRETRAINED)
    resumed = Stages()
    assert torch.equal(base(tmp_path / "killed", bars_file, resumed, **PRETRAINED), whole)
    assert ("pre-training the encoder" in resumed.seen) is again


# Resizes


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory, bars_file: Path) -> Iterator[Context]:
    made = opened(tmp_path_factory.mktemp("runs") / "desk", bars_file)
    train_base(made, silent)
    yield made
    made.store.close()


def answered(context: Context, count: int = 60, purpose: str = "first") -> list[str]:
    """Simulated reviewers take turns: yes, no, and a resize to a part of the change."""
    policy, record = context.policy("base")
    proposals = ask_about_history(context, policy, record.id, count, silent)
    reviewers = list(simulated_desk(context)[1])
    submissions = []
    for number, asked in enumerate(proposals):
        verdict = ("approve", "reject", "resize")[number % 3]
        resized = asked.held + PARTS[number // 3 % 2] * asked.change if number % 3 == 2 else None
        reviewer = reviewers[number % len(reviewers) - number // 3 % 2]
        token = f"{purpose}-{number}"
        submissions.append(Submission(reviewer, asked.id, verdict, token, 5.0, resized_to=resized))
    ReviewDesk(context.store, context.clock).submit_many(submissions)
    return [asked.id for number, asked in enumerate(proposals) if number % 3 == 2]


@pytest.fixture(scope="module")
def resized(context: Context) -> list[str]:
    return answered(context)


@pytest.fixture(scope="module")
def learned(context: Context, resized: list[str]) -> Learned:
    assert resized
    return learn(context, simulated=True)


def test_resizes_are_what_was_wanted(
    context: Context, learned: Learned, resized: list[str]
) -> None:
    found = wanted_weights(context, learned.record, ["resizes"])
    proposals = ReviewDesk(context.store, context.clock).proposals(ids=resized)
    assert found is not None
    assert sorted(found.bars.tolist()) == sorted(proposal.bar for proposal in proposals)
    rows = {
        (p.bar, context.bars.symbols.index(p.symbol)): (p, PARTS[number % 2])
        for number, p in enumerate(proposals)
    }
    for row, (bar, wanted) in enumerate(zip(found.bars.tolist(), found.wanted[0], strict=True)):
        (asset,) = (~wanted.isnan()).nonzero().flatten().tolist()
        asked, part = rows[bar, asset]
        assert float(wanted[asset]) == pytest.approx(asked.held + part * asked.change, abs=1e-6)
        assert found.held[row].tolist() == pytest.approx(
            [asked.portfolio[name] for name in context.bars.symbols], abs=1e-6
        )


def test_policies_shaped_with_them_are_nearer(context: Context, learned: Learned) -> None:
    base_policy, _ = context.policy("base")
    desks = [ModelDesk(learned.fitted.model)] * 2
    taught = wanted_weights(context, learned.record, ["nothing", "resizes"])
    assert taught is not None
    without, with_them = shape_policies(
        context, base_policy, desks, "shape", silent, demonstrations=taught
    )
    (plain,) = shape_policies(context, base_policy, desks[:1], "shape", silent)
    assert torch.equal(weights(plain), weights(without))
    shown = Demonstrations(taught.bars, taught.held, taught.wanted[1:], taught.weight[1:])
    near, far = (
        float(distance_from_wanted(policy, context.market.features, shown).detach())
        for policy in (with_them, without)
    )
    assert near < 0.9 * far


def test_the_placebo_learns_from_those_of_other_trades(context: Context, learned: Learned) -> None:
    found = wanted_weights(context, learned.record, ["resizes", "shuffled", "nothing"])
    assert found is not None
    assert torch.equal(found.wanted.isnan()[0], found.wanted.isnan()[1])
    assert not torch.equal(found.wanted[0].nan_to_num(), found.wanted[1].nan_to_num())
    assert found.weight[0].sum() == pytest.approx(float(found.weight[1].sum()))
    assert not found.weight[2].any()
    again = wanted_weights(context, learned.record, ["resizes", "shuffled", "nothing"])
    assert again is not None
    assert torch.equal(found.wanted.nan_to_num(), again.wanted.nan_to_num())


def test_what_was_said_after_the_fit_does_not_count(context: Context, learned: Learned) -> None:
    before = wanted_weights(context, learned.record, ["resizes"])
    answered(context, 30, "later")
    after = wanted_weights(context, learned.record, ["resizes"])
    later = wanted_weights(context, learn(context, simulated=True).record, ["resizes"])
    assert before is not None
    assert after is not None
    assert later is not None
    assert torch.equal(before.bars, after.bars)
    assert len(later.bars) == len(before.bars) + 10


def test_what_is_kept_from_training_is_kept_from_this_too(
    context: Context, learned: Learned
) -> None:
    found = wanted_weights(context, learned.record, ["resizes"])
    assert found is not None
    cut = int(found.bars.sort().values[10])
    # The same run, whose training period ends earlier.
    shorter = Context(**{**vars(context), "train_bars": range(context.train_bars.start, cut)})
    kept = wanted_weights(shorter, learned.record, ["resizes"])
    assert kept is not None
    assert sorted(kept.bars.tolist()) == sorted(bar for bar in found.bars.tolist() if bar < cut)


def test_without_resizes_or_a_price_there_is_nothing_to_imitate(
    context: Context, learned: Learned
) -> None:
    config = context.config
    free = config.model_copy(update={"shape": config.shape.model_copy(update={"imitation": 0.0})})
    unpriced = Context(**{**vars(context), "config": free})
    assert wanted_weights(unpriced, learned.record, ["resizes"]) is None
    nobody = type(learned.record)(**{**vars(learned.record), "answer_ids": ()})
    assert wanted_weights(context, nobody, ["resizes"]) is None


def test_a_base_policy_cannot_imitate() -> None:
    with pytest.raises(ConfigError, match=r"train: imitation must be 0.*set shape\.imitation"):
        read_config(None, {"train.imitation": 1.0})
