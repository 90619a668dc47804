"""One function per verb of the command line; each opens its run, does one thing and closes it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trading_rlhf.agent import ALONE, Ranks, Training, load_policy
from trading_rlhf.broker import Signal, export_signals, open_paper_broker, store_refusals
from trading_rlhf.config import RunConfig, read_config, write_config
from trading_rlhf.errors import AuditError, RunError
from trading_rlhf.feedback import ReviewDesk, create_account, list_accounts
from trading_rlhf.loop import (
    Context,
    Learned,
    Lesson,
    Replayed,
    SettableClock,
    Watch,
    ask_about_history,
    by_champion,
    catch_up,
    champion_id,
    help_training,
    learn,
    live_proposals,
    open_context,
    placebo_models,
    proposing_policy,
    rank_queue,
    release,
    require_database,
    require_review_time,
    require_run,
    run_demo,
    shape_policies,
    single_user,
    store_placebos,
    store_policy,
    tensorboard_scalars,
    train_base,
    waiting_challenger,
    wanted_weights,
)
from trading_rlhf.proposals import Proposal
from trading_rlhf.reward import ModelDesk
from trading_rlhf.services.people import make_password
from trading_rlhf.services.runs import system_clock
from trading_rlhf.services.secrets import Secrets
from trading_rlhf.store import AuditReport, open_store, read_events, verify
from trading_rlhf.types import JsonDict, Progress

__all__ = [
    "Stage",
    "audit",
    "demo",
    "export",
    "first_user",
    "fit",
    "flatten",
    "help_train",
    "open_stage",
    "prepare_desk",
    "propose",
    "shape",
    "train",
]


_TOLD = ("stopping", "setbacks")
"""What a copied policy's record says of its training, too."""


@dataclass(frozen=True)
class Stage:
    """What every verb is given.

    Attributes:
        run: the run directory.
        secrets: keys from the environment.
        config_file: YAML file with settings, or None.
        overrides: settings by dotted name.
        progress: told about long work.
    """

    run: Path
    secrets: Secrets
    config_file: Path | None
    overrides: JsonDict
    progress: Progress

    def settings(self) -> RunConfig:
        """The run's settings: its own config.yaml, or the given file, then the overrides."""
        own = self.run / "config.yaml"
        file = self.config_file or (own if own.is_file() else None)
        return read_config(file, self.overrides)


@contextmanager
def open_stage(stage: Stage) -> Iterator[Context]:
    """Hold the run for this process and open it.

    Raises:
        RunError: there is no such run, or another process works on it.
    """
    require_run(stage.run)
    with single_user(stage.run):
        context = _context(stage, stage.settings())
        try:
            yield context
        finally:
            context.store.close()


def demo(stage: Stage) -> JsonDict:
    """Run the whole loop on bundled data with the simulated desk; returns the figures."""
    config = read_config(stage.config_file, stage.overrides)
    clock = SettableClock(system_clock)
    return run_demo(stage.run, config, stage.secrets.audit_key, clock, stage.progress)


def train(stage: Stage, watch: Watch | None = None, ranks: Ranks = ALONE) -> JsonDict:
    """Train a base policy, starting the run where there is none.

    Args:
        stage: names the run.
        watch: sees the training after each iteration.
        ranks: processes that train together, of which this is the first; the others call
            ``help_train``.
    """
    config = stage.settings()
    with single_user(stage.run):
        stage.run.mkdir(parents=True, exist_ok=True)
        context = _context(stage, config)
        try:
            write_config(config, stage.run / "config.yaml")
            context.record_data()
            # The others read the settings that are now written.
            ranks.meet()
            with tensorboard_scalars(stage.run / "tensorboard", config.train) as write:
                watches = [each for each in (write, watch) if each is not None]

                def seen(training: Training) -> None:
                    for each in watches:
                        each(training)

                record = train_base(context, stage.progress, seen, ranks)
            event = context.newest("policy", "base")
            stopped = None if event is None else event.payload.get("stopping")
            waits = _waiting(context)
        finally:
            context.store.close()
    facts = {"policy": record.id, "kind": "base", "iterations": config.train.iterations}
    if stopped is not None:
        facts["iterations"] = stopped["best"]
        facts["stopped"] = _stopped(stopped)
    return {**facts, **waits}


def help_train(stage: Stage, ranks: Ranks) -> None:
    """Take a share of ``train``, whose process holds the run and writes to it."""
    ranks.meet()
    clock = SettableClock(system_clock)
    context = open_context(stage.run, stage.secrets.audit_key, clock)
    try:
        help_training(context, ranks)
    finally:
        context.store.close()


def _stopped(stopping: JsonDict) -> str:
    """What chose the weights of a training that could end early."""
    first, last = stopping["period"]
    return (
        f"{stopping['checks']} checks on {first} to {last} chose the weights after "
        f"{stopping['best']} of {stopping['trained']} iterations; a champion is chosen on later "
        "bars."
    )


def propose(stage: Stage, count: int, live: bool) -> JsonDict:
    """Put proposals into the review queue: from history, or for the newest bar."""
    with open_stage(stage) as context:
        policy, record = proposing_policy(context)
        if not live:
            made = ask_about_history(context, policy, record.id, count, stage.progress)
        else:
            require_review_time(context)
            model = context.reward_model()
            broker = open_paper_broker(context.store, context.config.costs, context.config.equity)
            catch_up(context, broker)
            newest = context.bars.shape[0] - 1
            made = live_proposals(
                context, policy, record.id, None if model is None else model[0], broker, newest
            )
            ReviewDesk(context.store, context.clock).add_proposals(made)
            context.sign()
        rank_queue(context)
        facts = {"policy": record.id, "kind": record.note, "proposals": len(made), "live": live}
        if live and made and made[0].expires_at < context.clock():
            facts["note"] = (
                f"The newest bar is of {context.bars.dates[-1].date()}, so these have expired and "
                "cannot be reviewed; fetch newer bars with 'trading-rlhf data fetch'."
            )
        return facts


def fit(stage: Stage, simulated: bool) -> JsonDict:
    """Fit the reward model on the standing answers and shape a policy by it."""
    with open_stage(stage) as context:
        # A base policy that cannot be loaded should stop this before anything is stored.
        context.policy("base")
        learned = learn(context, simulated)
        rank_queue(context)
        policy = shape(context, learned, stage.progress)
        return {
            "reward_model": learned.record.id,
            "answers": len(learned.record.answer_ids),
            "held_out": learned.record.quality,
            "policy": policy,
            **_waiting(context),
        }


def _waiting(context: Context) -> JsonDict:
    """Who reigns, and what to do where a policy waits to meet the champion."""
    reigning, waits = champion_id(context), waiting_challenger(context)
    facts: JsonDict = {} if reigning is None else {"champion": reigning}
    if waits is not None:
        command = f"trading-rlhf promote --run {context.folder}"
        facts["next"] = f"Policy {waits[:8]} waits as challenger: run '{command}'."
    return facts


def shape(context: Context, learned: Learned, progress: Progress) -> str:
    """Train the base policy under a reward model as the desk, store it, return its id.

    The placebo, the same learning from shuffled answers, is trained beside it, in as many draws as
    the settings say, and kept.
    """
    base, record = context.policy("base")
    blind = placebo_models(context, learned, context.config.placebos)
    pessimism = context.config.fit.pessimism
    desks = [ModelDesk(fitted.model, pessimism) for fitted in (learned.fitted, *blind)]
    blindly: list[Lesson] = ["shuffled"] * len(blind)
    taught = wanted_weights(context, learned.record, ["resizes", *blindly])
    shaped, *placebos = shape_policies(
        context, base, desks, "shape", progress, demonstrations=taught
    )
    stored = store_policy(context, shaped, "shaped", record.id)
    store_placebos(context, list(zip(placebos, blind, strict=True)), learned.record, record.id)
    return stored.id


def export(stage: Stage) -> JsonDict:
    """Release approved live proposals and send them; write every signal released so far."""
    with open_stage(stage) as context:
        broker = open_paper_broker(context.store, context.config.costs, context.config.equity)
        undecided = _undecided(context)
        # What is released would fill in the next session: an order leaves when its review is over.
        n_bars, delay = context.bars.shape[0], context.config.gate.delay
        reviewed = [proposal for proposal in undecided if proposal.bar + delay < n_bars]
        outcome = Replayed()
        waiting, stale = by_champion(context, reviewed)
        store_refusals(context.store, stale)
        outcome.sentences += [refusal.sentence for refusal in stale]
        release(context, broker, waiting, outcome)
        with context.store.read() as session:
            events = read_events(session, "signal", kind="released")
        signals = [Signal.from_json(event.payload["signal"]) for event in events]
        files = export_signals(signals, context.folder / "signals")
        context.sign()
        return {
            "considered": len(reviewed),
            "still_under_review": len(undecided) - len(reviewed),
            "new_signals": len(outcome.signals),
            "new_orders": outcome.orders,
            "signals_so_far": len(signals),
            "held_back": outcome.sentences,
            "files": [str(file) for file in files],
        }


def _undecided(context: Context) -> list[Proposal]:
    """Live proposals that may still be released, or whose end has not been told yet."""
    with context.store.read() as session:
        events = read_events(session, "signal")
    released = {event.subject for event in events if event.kind == "released"}
    refused = {event.subject for event in events if event.kind == "refused"}
    now = context.clock()
    return [
        proposal
        for proposal in ReviewDesk(context.store, context.clock).proposals(mode="live")
        if proposal.id not in released
        and (proposal.expires_at >= now or proposal.id not in refused)
    ]


def audit(stage: Stage) -> AuditReport:
    """Verify the run's chain of events against its signed head.

    Raises:
        AuditError: there is no store to verify.
    """
    database = stage.run / "store.db"
    require_database(stage.run)
    if not database.is_file():
        raise AuditError(
            "an audit needs a run with a store", f"no {database}", "Name a run with --run."
        )
    with open_store(database, stage.secrets.audit_key, system_clock) as store:
        return verify(store, stage.run / "audit_head.json")


def prepare_desk(stage: Stage, demo_run: Path, count: int) -> None:
    """Make the desk's run from the demo's base policy, without its simulated answers.

    An existing desk is left as it is; questions are added only where none wait.

    Args:
        stage: names the desk's run.
        demo_run: the run whose base policy is taken.
        count: questions to put into an empty queue.

    Raises:
        RunError: there is neither a desk nor a finished demo.
    """
    if not (stage.run / "config.yaml").is_file():
        _copy_base_policy(stage, demo_run)
    with open_stage(stage) as context:
        desk = ReviewDesk(context.store, context.clock)
        answered = {answer.proposal_id for answer in desk.standing_answers()}
        if all(proposal.id in answered for proposal in desk.proposals(mode="history")):
            policy, record = context.policy("base")
            ask_about_history(context, policy, record.id, count, stage.progress)


def first_user(stage: Stage) -> str | None:
    """Create the account "reviewer" where no person has one; returns its password, else None."""
    with open_stage(stage) as context:
        if any(not account.simulated for account in list_accounts(context.store)):
            return None
        password = make_password()
        create_account(context.store, "reviewer", password, "admin")
        return password


def _copy_base_policy(stage: Stage, demo_run: Path) -> None:
    if not (demo_run / "summary.json").is_file():
        raise RunError(
            "a desk starts from a finished demo",
            f"no summary.json in {demo_run}",
            "Run 'make demo' first.",
        )
    config = read_config(demo_run / "config.yaml", stage.overrides)
    with single_user(stage.run):
        stage.run.mkdir(parents=True, exist_ok=True)
        source = open_context(
            demo_run, stage.secrets.audit_key, SettableClock(system_clock), config
        )
        try:
            event = source.newest("policy", "base")
        finally:
            source.store.close()
        if event is None:
            raise RunError("a demo holds a base policy", f"none in {demo_run}", "Run it again.")
        policy, _ = load_policy(demo_run / "policies", event.payload["id"])
        context = _context(stage, config)
        try:
            context.record_data()
            # Copied with the policy: these settings may split the bars differently.
            fitted_to = event.payload.get("trained_to", "")
            told = {name: event.payload[name] for name in _TOLD if name in event.payload}
            store_policy(context, policy, "base", None, fitted_to, told)
            # Written last: a desk without config.yaml is begun again.
            write_config(config, stage.run / "config.yaml")
        finally:
            context.store.close()


def _context(stage: Stage, config: RunConfig) -> Context:
    clock = SettableClock(system_clock)
    return open_context(stage.run, stage.secrets.audit_key, clock, config)


def flatten(settings: dict[str, Any], prefix: str = "") -> JsonDict:
    """Nested settings as dotted names."""
    flat: JsonDict = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat
