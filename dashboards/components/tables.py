"""Tables and named figures as plain HTML, every text escaped."""

from collections.abc import Sequence
from html import escape

__all__ = ["facts_html", "table_html", "tiles_html"]


def table_html(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table that scrolls sideways where it is wider than the page."""
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    kind = ' class="rv-words"' if len(columns) == 2 else ""
    table = f"<table{kind}><thead><tr>{head}</tr></thead>{body}</table>"
    return f'<div class="rv-scroll">{table}</div>'


def facts_html(facts: Sequence[tuple[str, str]]) -> str:
    """Return a grid of named values."""
    cells = "".join(
        f"<div><span>{escape(name)}</span><b>{escape(value)}</b></div>" for name, value in facts
    )
    return f'<div class="rv-facts-grid">{cells}</div>'


def tiles_html(tiles: Sequence[tuple[str, str, str]]) -> str:
    """Return figures that are read at a glance, each with what to hold it against."""
    cells = "".join(
        f"<div><span>{escape(label)}</span><b>{escape(value)}</b><span>{escape(note)}</span></div>"
        for label, value, note in tiles
    )
    return f'<div class="rv-tiles">{cells}</div>'
