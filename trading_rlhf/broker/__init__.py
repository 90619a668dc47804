"""From approved proposals to orders, fills and books that agree."""

from trading_rlhf.broker.books import Books
from trading_rlhf.broker.broker import (
    Account,
    Broker,
    Fill,
    Order,
    OrderState,
    OrderStatus,
    client_order_id,
)
from trading_rlhf.broker.export import export_signals, read_signals
from trading_rlhf.broker.history import OrderRecord, open_paper_broker, read_orders, working_orders
from trading_rlhf.broker.limits import LimitsConfig, check_limits, halt_reason
from trading_rlhf.broker.outbox import Report, advance_session, resume, send, store_refusals
from trading_rlhf.broker.paper import PaperBroker, Session
from trading_rlhf.broker.reconcile import (
    PositionRow,
    Reconciliation,
    positions_from_fills,
    reconcile,
)
from trading_rlhf.broker.release import ModelOpinion, ReleaseConfig, release_signals
from trading_rlhf.broker.signal import SCHEMA_VERSION, Approval, Refusal, Side, Signal
from trading_rlhf.broker.slippage import Slippage, compare_fill

__all__ = [
    "Account",
    "Approval",
    "Books",
    "Broker",
    "Fill",
    "LimitsConfig",
    "ModelOpinion",
    "Order",
    "OrderRecord",
    "OrderState",
    "OrderStatus",
    "PaperBroker",
    "PositionRow",
    "Reconciliation",
    "Refusal",
    "ReleaseConfig",
    "Report",
    "SCHEMA_VERSION",
    "Session",
    "Side",
    "Signal",
    "Slippage",
    "advance_session",
    "check_limits",
    "client_order_id",
    "compare_fill",
    "export_signals",
    "halt_reason",
    "open_paper_broker",
    "positions_from_fills",
    "read_orders",
    "read_signals",
    "reconcile",
    "release_signals",
    "resume",
    "send",
    "store_refusals",
    "working_orders",
]
