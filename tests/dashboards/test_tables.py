"""What a run's names and cells hold is text on a screen, whatever it looks like."""

import pytest

from dashboards.components.tables import facts_html, table_html, tiles_html

ATTACK = "<script>alert('x')</script>"


@pytest.mark.parametrize(
    ("made", "times"),
    [
        (table_html([ATTACK, "b", "c"], [["1", ATTACK, ATTACK]]), 3),
        (facts_html([(ATTACK, ATTACK)]), 2),
        (tiles_html([(ATTACK, ATTACK, ATTACK)]), 3),
    ],
)
def test_a_script_stays_text(made: str, times: int) -> None:
    assert "<script" not in made
    assert made.count("&lt;script&gt;") == times


def test_a_table_of_words_is_not_set_like_figures() -> None:
    assert "rv-words" in table_html(["arm", "what it is"], [["a", "b"]])
    assert "rv-words" not in table_html(["arm", "x", "y"], [["a", "1", "2"]])
