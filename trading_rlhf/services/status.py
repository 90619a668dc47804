"""Where a run stands: counts, newest policy and reward model, in rows for people and machines."""

from trading_rlhf.feedback import ReviewDesk, list_accounts
from trading_rlhf.services.stages import Stage, open_stage
from trading_rlhf.store import STREAMS, read_events
from trading_rlhf.types import JsonDict

__all__ = ["status"]


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
            "reward_model": newest,
            "events": events,
        }
