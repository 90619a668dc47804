"""A run with a base policy, a reward model and a shaped policy, trained for a moment only."""

from pathlib import Path

from trading_rlhf.agent import load_policy
from trading_rlhf.config import read_config, write_config
from trading_rlhf.loop import (
    SettableClock,
    ask_about_history,
    learn,
    open_context,
    placebo_models,
    shape_policies,
    simulate_answers,
    store_policy,
    train_base,
)
from trading_rlhf.loop.placebo import store_placebos
from trading_rlhf.reward import ModelDesk
from trading_rlhf.services.secrets import Secrets
from trading_rlhf.services.stages import Stage
from trading_rlhf.types import Clock

__all__ = ["make_tested_run", "silent", "stage_of"]

QUICK = {
    "train.iterations": 6,
    "shape.iterations": 2,
    "ask.answers": 40,
    "fit.iterations": 10,
    "fit.members": 2,
    "train_fraction": 0.92,
    "placebos": 2,
}


def silent(_stage: str, _done: int, _total: int) -> None:
    """Take progress and show nothing."""


def make_tested_run(folder: Path, key: bytes, clock: Clock) -> Path:
    """Make the run, its placebo included; its test period is the last 8% of us4."""
    config = read_config(None, QUICK)
    folder.mkdir(parents=True)
    context = open_context(folder, key, SettableClock(clock), config)
    try:
        write_config(config, folder / "config.yaml")
        context.record_data()
        record = train_base(context, silent)
        base, _ = load_policy(context.policies, record.id)
        proposals = ask_about_history(context, base, record.id, 60, silent)
        simulate_answers(context, proposals, 40, "history-answers", silent)
        learned = learn(context, simulated=True)
        blind = placebo_models(context, learned, config.placebos)
        desks = [ModelDesk(fitted.model) for fitted in (learned.fitted, *blind)]
        shaped, *placebos = shape_policies(context, base, desks, "shape", silent)
        store_policy(context, shaped, "shaped", record.id)
        draws = list(zip(placebos, blind, strict=True))
        store_placebos(context, draws, learned.record, record.id)
    finally:
        context.store.close()
    return folder


def stage_of(run: Path, key: bytes) -> Stage:
    """What a verb is given for a run."""
    return Stage(run, Secrets(key, "session key of the tests, 32 long"), None, {}, silent)
