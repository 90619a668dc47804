"""From policy output to frozen, explained trade proposals."""

from trading_rlhf.proposals.build import HORIZON, Book, ProposalMaker, portfolio_weights
from trading_rlhf.proposals.explain import Attribution, attribute, explain
from trading_rlhf.proposals.proposal import Explanation, Mode, Proposal, Reason
from trading_rlhf.proposals.tensors import TradeTensors

__all__ = [
    "HORIZON",
    "Attribution",
    "Book",
    "Explanation",
    "Mode",
    "Proposal",
    "ProposalMaker",
    "Reason",
    "TradeTensors",
    "attribute",
    "explain",
    "portfolio_weights",
]
