"""What hides a historical item: letters for symbols, 100 for the price, bars for dates."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from trading_rlhf.proposals import Proposal

__all__ = ["Mask", "mask_for"]


@dataclass(frozen=True)
class Mask:
    """How one item may be shown.

    Attributes:
        hidden: True for everything but a live item.
        names: shown name by symbol.
        scale: shown price per dollar; 1 for a live item.
    """

    hidden: bool
    names: dict[str, str]
    scale: float

    def name(self, symbol: str) -> str:
        """Return the name under which an asset may be shown."""
        return self.names[symbol]


def mask_for(proposal: Proposal, symbols: Iterable[str]) -> Mask:
    """Choose the names and the price scale for one item.

    The letters change from item to item, so that nobody learns which asset is which.

    Args:
        proposal: the item.
        symbols: every asset that the item may name.
    """
    assets = set(symbols) | set(proposal.portfolio) | set(proposal.planned) | {proposal.symbol}
    if proposal.mode == "live":
        return Mask(False, {symbol: symbol for symbol in assets}, 1.0)
    shuffled = sorted(assets, key=lambda symbol: _hash(f"{proposal.id}|{symbol}"))
    names = {symbol: f"Asset {_letters(place)}" for place, symbol in enumerate(shuffled)}
    return Mask(True, names, 100.0 / proposal.price)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _letters(place: int) -> str:
    # A to Z, then AA, AB, ... as in a spreadsheet.
    letters = ""
    place += 1
    while place:
        place, rest = divmod(place - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters
