"""Stored answers become tensors of every kind."""

from collections.abc import Iterator

import pytest

from tests.loop.conftest import KEY, present, silent
from trading_rlhf.config import read_config
from trading_rlhf.feedback import ReviewDesk, Submission
from trading_rlhf.loop import (
    Context,
    SettableClock,
    ask_about_history,
    learn,
    open_context,
    placebo_models,
    simulated_desk,
    train_base,
)
from trading_rlhf.market import load_sample, write_bars
from trading_rlhf.proposals import Proposal

QUICK = {"train.iterations": 5, "train.batch": 8, "train.horizon": 6, "fit.iterations": 10}
KINDS = 5
"""In turn: yes, no with reasons, a resize to a quarter, one to nothing, a rated yes."""


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    folder = tmp_path_factory.mktemp("kinds")
    write_bars(load_sample("us4").window(1200, 1800), folder / "us4.parquet")
    config = read_config(None, {"data": str(folder / "us4.parquet"), **QUICK})
    made = open_context(folder / "run", KEY, SettableClock(present), config)
    train_base(made, silent)
    yield made
    made.store.close()


@pytest.fixture(scope="module")
def proposals(context: Context) -> list[Proposal]:
    policy, record = context.policy("base")
    asked = ask_about_history(context, policy, record.id, 60, silent)
    reviewers = list(simulated_desk(context)[1])
    given = []
    for number, trade in enumerate(asked):
        kind = number % KINDS
        verdict = ("approve", "reject", "resize", "resize", "approve")[kind]
        share = {2: 0.25, 3: 0.0}.get(kind)
        given.append(
            Submission(
                reviewers[number % len(reviewers)], trade.id, verdict, f"t-{number}", 5.0,
                rating=5 if kind == 4 else None,
                tags=("chasing", "my own reason") if kind == 1 else (),
                resized_to=None if share is None else trade.held + share * trade.change,
            )
        )  # fmt: skip
    ReviewDesk(context.store, context.clock).submit_many(given)
    return asked


def test_every_kind_is_learned_from_about_the_trade_that_was_meant(
    context: Context, proposals: list[Proposal]
) -> None:
    learned = learn(context, simulated=True)
    answers = learned.answers
    each = len(proposals) // KINDS
    counts = {name: kind.count for name, kind in answers.kinds.items()}
    assert counts == {"verdicts": 5 * each, "ratings": each, "resizes": each, "tags": each}
    event = context.newest("reward_model", "fitted")
    assert event is not None
    assert event.payload["kinds"] == counts
    # A resize to a quarter approves it; one to nothing refuses what was proposed.
    assert answers.verdicts.approved[0].reshape(-1, KINDS).mean(0).tolist() == [1, 0, 1, 0, 1]
    resizes, verdicts, all_inputs = answers.resizes, answers.verdicts, range(0, 5 * each, KINDS)
    assert resizes is not None
    assert resizes.share[0].tolist() == pytest.approx([0.25] * each, abs=1e-5)
    rows = [start + 2 for start in all_inputs]
    assert resizes.wanted[0].flatten().tolist() == pytest.approx(
        verdicts.inputs[0, rows].flatten().tolist(), abs=1e-4
    )
    targets = [proposals[row].target for row in rows]
    assert resizes.target[0].tolist() == pytest.approx(targets, abs=1e-6)
    assert answers.ratings is not None
    assert answers.ratings.stars[0].tolist() == [5] * each
    assert answers.tags is not None
    assert answers.tags.names == ("chasing",)
    assert learned.fitted.tags is not None


def test_the_placebo_shuffles_every_kind(context: Context, proposals: list[Proposal]) -> None:
    learned = learn(context, simulated=True)
    (placebo,) = placebo_models(context, learned, 1)
    assert placebo.tags is not None
    assert placebo.model.line_weight.shape == learned.fitted.model.line_weight.shape
    assert not bool((placebo.model.line_weight == learned.fitted.model.line_weight).all())
