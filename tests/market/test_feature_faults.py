"""What a user's feature can do wrong is one sentence and never counts as success."""

import numpy as np
import pytest

from tests.market.test_feature_files import one
from trading_rlhf.errors import DataError
from trading_rlhf.market import (
    Feature,
    FeatureRegistry,
    compute_feature,
    default_registry,
    load_feature_file,
)


def returned(bars):
    return np.zeros(bars.shape)


RIGHT = {"name": "x", "lookback": 5, "label": "l", "formula": "f", "compute": returned}


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"name": ""}, "name must be a word; got ''"),
        ({"name": 5}, "name must be a word; got 5"),
        ({"name": ["a"]}, "name must be a word"),
        ({"name": "a,b c\n[red]"}, "name must be a word"),
        ({"lookback": -1}, "lookback must be zero or more whole bars, 20000 at most; got -1"),
        ({"lookback": 2.5}, "lookback must be .* got 2.5"),
        ({"lookback": float("nan")}, "lookback must be .* got nan"),
        ({"lookback": "5"}, "lookback must be"),
        ({"lookback": None}, "lookback must be"),
        ({"lookback": True}, "lookback must be"),
        ({"lookback": 10**12}, "lookback must be"),
        ({"label": None}, "label must be a line of text; got None"),
        ({"label": "a\nb"}, "label must be a line of text"),
        ({"formula": None}, "formula must be a line of text"),
        ({"compute": None}, "compute must be a function of bars; got None"),
        ({"needs": "volume"}, "needs must be a tuple of some of .* got 'volume'"),
        ({"needs": ("nothing",)}, "needs must be a tuple"),
        ({"needs": 5}, "needs must be a tuple"),
        ({"needs": (["volume"],)}, "needs must be a tuple"),
    ],
)
def test_a_feature_of_wrong_fields_is_one_sentence(changes, word):
    with pytest.raises(DataError, match=f"a feature's {word}") as said:
        Feature(**RIGHT | changes)
    assert "\n" not in str(said.value)
    assert Feature(**RIGHT).name == "x"


def test_only_features_can_be_registered():
    for wrong in (3, "abc", None):
        with pytest.raises(DataError, match="only a Feature can be registered"):
            FeatureRegistry().register(wrong)


class Own(BaseException):
    pass


@pytest.mark.parametrize(
    "error", [SystemExit(0), SystemExit(3), SystemExit(), GeneratorExit(), Own("x"), ValueError()]
)
def test_nothing_that_compute_raises_counts_as_success(make_bars, error):
    def fail(bars):
        raise error

    with pytest.raises(DataError, match="feature x must return numbers for these bars") as said:
        compute_feature(Feature(**RIGHT | {"compute": fail}), make_bars())
    assert type(error).__name__ in str(said.value)
    assert ": ." not in str(said.value)


def test_an_interrupt_stays_one(make_bars):
    def interrupt(bars):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compute_feature(Feature(**RIGHT | {"compute": interrupt}), make_bars())


def test_complex_numbers_are_none(make_bars):
    with pytest.raises(DataError, match="got TypeError: complex numbers"):
        compute_feature(Feature(**RIGHT | {"compute": lambda b: b.close * 1j}), make_bars())


REPLACE = one("lambda b: b.close * 0.0").replace(
    "registry.register(", "registry._features['trend_60'] = ("
)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("raise GeneratorExit", "must run without an error; got GeneratorExit. Correct"),
        ("class B(BaseException): pass\nraise B('x')", "must run without an error; got B: x"),
        ("import sys\nsys.exit(0)", "must run without an error; got SystemExit: 0"),
        ("import sys\ndef register(registry): sys.exit(0)", "must run without an error"),
        ("raise ValueError", "got ValueError. Correct"),
        ("raise ValueError('a\\nb')", "got ValueError: a b. Correct"),
        ("def register(registry): pass", "register must add a feature; got none"),
        ("def register(registry): registry._features.clear()", "must leave other features"),
        (REPLACE, "must leave other features as they are; got trend_60"),
    ],
)
def test_a_file_that_does_something_else_is_refused(tmp_path, text, word):
    (tmp_path / "mine.py").write_text(text)
    registry = default_registry()
    with pytest.raises(DataError, match=word) as said:
        load_feature_file(tmp_path / "mine.py", registry)
    assert "mine.py" in str(said.value)
    assert registry.names() == default_registry().names()
