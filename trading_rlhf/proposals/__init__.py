"""From policy output to frozen, explained trade proposals."""

from trading_rlhf.proposals.build import HORIZON, Book, ProposalMaker, portfolio_weights
from trading_rlhf.proposals.explain import occlusion, top_reasons
from trading_rlhf.proposals.proposal import Mode, Proposal, Reason
from trading_rlhf.proposals.tensors import TradeTensors

__all__ = [
    "HORIZON",
    "Book",
    "Mode",
    "Proposal",
    "ProposalMaker",
    "Reason",
    "TradeTensors",
    "occlusion",
    "portfolio_weights",
    "top_reasons",
]
