"""Options that several verbs take, read strictly: nothing is rounded, nothing empty is a name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

from cyclopts import Parameter, Token

__all__ = ["Folder", "Whole"]


def _whole(_: object, tokens: Sequence[Token]) -> int:
    """Read a whole number; cyclopts itself would cut 2.5 to 2."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError(f"must be a whole number; got {tokens[0].value[:40]!r}") from None


def _folder(_: object, tokens: Sequence[Token]) -> Path:
    """Read a folder's name; an empty one would be the present folder."""
    if not tokens[0].value:
        raise ValueError("must name a folder; got an empty name")
    return Path(tokens[0].value)


Whole: TypeAlias = Annotated[int, Parameter(converter=_whole)]
Folder: TypeAlias = Annotated[Path, Parameter(converter=_folder)]
