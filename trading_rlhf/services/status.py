"""Where a run stands: counts, newest policy and reward model, in rows for people and machines."""

from datetime import datetime

from trading_rlhf.feedback import ReviewDesk, list_accounts
from trading_rlhf.loop import champion_id, line_of_champions, waiting_challenger
from trading_rlhf.services.champions import line_text
from trading_rlhf.services.stages import Stage, open_stage
from trading_rlhf.store import STREAMS, read_events
from trading_rlhf.types import JsonDict

__all__ = ["in_words", "status"]

_TRAINED = ("base", "shaped", "placebo")


def status(stage: Stage) -> JsonDict:
    """Figures of a run: data, policies, proposals, answers, reward models, orders."""
    with open_stage(stage) as context:
        desk = ReviewDesk(context.store, context.clock)
        human, simulated = (desk.standing_answers(simulated=kind) for kind in (False, True))
        usable = sum(a.trainable and a.verdict != "cannot_tell" for a in human)
        with context.store.read() as session:
            events = {stream: len(read_events(session, stream)) for stream in STREAMS}
            policies = [
                {"id": event.payload["id"], "kind": event.kind, "at": event.at.isoformat()}
                for event in read_events(session, "policy")
                if event.kind in _TRAINED
            ]
            fits = read_events(session, "reward_model", kind="fitted")
        newest = fits[-1].payload if fits else None
        return {
            "run": str(stage.run),
            "data": context.config.data,
            "bars": context.bars.shape[0],
            "symbols": list(context.bars.symbols),
            "last_bar": str(context.bars.dates[-1].date()),
            "proposals": len(desk.proposals()),
            "human_answers": len(human),
            "usable_answers": usable,
            "until_first_fit": max(context.config.fit.minimum - usable, 0),
            "simulated_answers": len(simulated),
            "reviewers": sum(not account.simulated for account in list_accounts(context.store)),
            "policies": policies,
            "champion": champion_id(context),
            "challenger": waiting_challenger(context),
            "champions": line_of_champions(context),
            "reward_model": newest,
            "events": events,
        }


def in_words(facts: JsonDict) -> dict[str, str]:
    """The figures of ``status`` for people: plain labels, ids shortened, times to the minute."""
    people, missing = facts["human_answers"], facts["until_first_fit"]
    answers = f"{people:,} of people ({facts['usable_answers']:,} to learn from"
    answers += f", {missing:,} more until the first fit)" if missing else ")"
    return {
        "Run": facts["run"],
        "Data": f"{facts['data']}, {facts['bars']:,} bars to {facts['last_bar']}",
        "Assets": ", ".join(facts["symbols"]),
        "Reviewers": f"{facts['reviewers']:,}",
        "Proposals": f"{facts['proposals']:,}",
        "Answers": f"{answers}; {facts['simulated_answers']:,} simulated",
        "Policies": "\n".join(
            f"{policy['kind']} {_short(policy['id'])}, made "
            f"{datetime.fromisoformat(policy['at']):%Y-%m-%d %H:%M} UTC"
            for policy in facts["policies"]
        )
        or "none yet: run 'trading-rlhf train'",
        "Champion": _champion(facts),
        "Line of champions": line_text(facts["champions"]) or "none yet",
        "Reward model": _reward_model(facts["reward_model"]),
        "Events": ", ".join(
            f"{count:,} {name.replace('_', ' ')}" for name, count in facts["events"].items()
        ),
    }


def _champion(facts: JsonDict) -> str:
    reigning, waits = facts["champion"], facts["challenger"]
    text = "none yet" if reigning is None else _short(reigning)
    if waits is not None:
        text += f"; {_short(waits)} waits: run 'trading-rlhf promote --run {facts['run']}'"
    return text


def _reward_model(fit: JsonDict | None) -> str:
    if fit is None:
        return "none yet"
    kind = "simulated answers" if fit["simulated"] else "answers of people"
    text = f"{_short(fit['id'])}, from {fit['answers']:,} {kind}"
    quality = fit["quality"]
    if not quality or quality.get("accuracy") is None:
        return f"{text}; too few answers to test it on"
    return (
        f"{text}; on {quality['answers']:,} answers held out: accuracy {quality['accuracy']:.2f}, "
        f"calibration error (ECE) {quality['ece']:.2f}"
    )


def _short(name: str) -> str:
    return name[:8]
