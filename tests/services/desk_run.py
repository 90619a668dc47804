"""A small run with hand-made proposals, for the tests of services, screens and browser."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from trading_rlhf.feedback import Account, ReviewDesk, create_account
from trading_rlhf.market import Bars, load_sample, session_close, session_open
from trading_rlhf.proposals import Explanation, Mode, Proposal, Reason
from trading_rlhf.store import open_store
from trading_rlhf.types import Clock

__all__ = ["PASSWORD", "DeskRun", "make_proposal", "make_run"]

PASSWORD = "correct horse battery"
WEIGHTS = {"AAPL": 0.31, "GOOG": 0.22, "IBM": 0.18, "MSFT": 0.03}


@dataclass(frozen=True)
class DeskRun:
    """A run directory, its bars, its people and its proposals."""

    path: Path
    bars: Bars
    ana: Account
    proposals: tuple[Proposal, ...]


def make_proposal(
    bars: Bars, t: int, symbol: str, mode: Mode = "history", *, target: float, **changes: object
) -> Proposal:
    """Propose to change the weight of one asset at bar t."""
    held = WEIGHTS[symbol]
    price = float(bars.raw_close[t, bars.symbols.index(symbol)])
    fill_at = session_open(bars.dates[t] + timedelta(days=1))
    change = target - held
    side = 1 if change > 0 else -1
    proposal = Proposal(
        id=f"{mode}-{t}-{symbol}",
        market="us4",
        symbol=symbol,
        mode=mode,
        bar=t,
        known_at=session_close(bars.dates[t]),
        decided_at=session_close(bars.dates[t]),
        earliest_fill_at=fill_at,
        expires_at=fill_at,
        horizon=20,
        held=held,
        target=target,
        price=price,
        equity=1_000_000.0,
        cost=abs(target - held) * 3e-4,
        confidence=0.62,
        reasons=(
            Reason("trend_60", "60-day trend", 1.8 * side, 0.75 * change),
            Reason("volume_20", "20-day volume", 0.9, 0.25 * change),
            Reason("volatility_20", "20-day volatility", -0.4, -0.25 * change),
        ),
        feature_names=("trend_60",),
        features=(1.8,),
        portfolio=WEIGHTS,
        planned={**WEIGHTS, symbol: target},
        entry_price=price * 0.96,
        open_profit=1 / 0.96 - 1,
        policy_id="policy-1",
        data_sha256=bars.sha256,
        random_share=mode != "live",
        explanation=Explanation(
            other_signals=0.15 * change,
            other_assets=-0.1 * change,
            held=0.5 * change,
            restraint=-0.3 * change,
            residual=1e-12,
            sentence=f"60-day trend {1.8 * side:+.1f} sd, holds {'less' if side > 0 else 'more'} "
            "than usual; held back by cost and caution",
        ),
    )
    return replace(proposal, **changes)  # type: ignore[arg-type]


def make_run(path: Path, audit_key: bytes, clock: Clock, *, live_until: datetime | None) -> DeskRun:
    """Make a run with four masked proposals, a live one with a deadline, and the account "ana"."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.yaml").write_text("data: us4\n")
    bars = load_sample("us4")
    proposals = [
        make_proposal(bars, 1600, "IBM", target=0.12),
        make_proposal(bars, 1600, "AAPL", target=0.36),
        make_proposal(bars, 1800, "GOOG", target=0.0),
        make_proposal(bars, 1400, "MSFT", "practice", target=0.08),
    ]
    if live_until is not None:
        live = make_proposal(bars, 2400, "MSFT", "live", target=0.074, expires_at=live_until)
        proposals.insert(0, live)
    with open_store(path / "store.db", audit_key, clock) as store:
        ana = create_account(store, "ana", PASSWORD, "reviewer", display_name="Ana Ruiz")
        ReviewDesk(store, clock).add_proposals(proposals)
    return DeskRun(path, bars, ana, tuple(proposals))
