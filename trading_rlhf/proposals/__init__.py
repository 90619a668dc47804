"""From policy output to frozen, explained trade proposals."""

from trading_rlhf.proposals.proposal import Mode, Proposal, Reason

__all__ = ["Mode", "Proposal", "Reason"]
