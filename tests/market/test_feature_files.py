"""A user adds features in a few lines, and each mistake in the file is one sentence."""

import pytest

from trading_rlhf.errors import DataError, LookAheadError
from trading_rlhf.market import (
    compute_features,
    default_registry,
    load_feature_file,
    load_sample,
    registry_with,
)

GOOD = """
import numpy as np
from trading_rlhf.market import Feature

def body(bars):
    return np.log(bars.close / bars.open)

def rank(bars):
    return (bars.close / bars.open).argsort(axis=1).argsort(axis=1)

def register(registry):
    registry.register(Feature("body", 0, "day's move", "log(close / open)", body, needs=("open",)))
    registry.register(Feature("rank", 0, "rank of the day's move", "rank", rank, needs=("open",)))
"""


def one(compute: str, name: str = "mine", lookback: int = 1) -> str:
    return (
        "import numpy as np\nfrom trading_rlhf.market import Feature\n"
        f"def register(registry):\n    compute = {compute}\n"
        f"    registry.register(Feature({name!r}, {lookback}, 'mine', 'mine', compute))\n"
    )


@pytest.fixture
def file_of(tmp_path):
    def write(text):
        path = tmp_path / "mine.py"
        path.write_text(text)
        return path

    return write


def test_a_file_adds_features_that_can_be_computed_with_the_others(file_of):
    registry = registry_with([file_of(GOOD)])
    assert registry.names() == (*default_registry().names(), "body", "rank")
    features = compute_features(load_sample("us4"), ("trend_60", "body"), registry)
    assert (features[-1] != 0.0).all()
    assert registry_with([]).names() == default_registry().names()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "def register(registry)\n    pass\n",
            "must run without an error; got SyntaxError in line 1",
        ),
        ("1 / 0\n", "must run without an error; got ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(3)\n", "must run without an error; got SystemExit: 3"),
        ("import nowhere\n", "got ModuleNotFoundError: No module named 'nowhere'"),
        ("x = 1\n", r"must define register\(registry\); got no such function"),
        ("register = 1\n", r"must define register\(registry\)"),
        (
            "def register(registry):\n    registry.register(3)\n",
            "only a Feature can be registered; got int",
        ),
        (one("lambda b: b.close", name="trend_60"), "name must be new; got trend_60"),
        (
            one("lambda b: b.close", lookback=-1),
            "lookback must be zero or more whole bars, 20000 at most; got -1",
        ),
        ("\0", "must run without an error"),
    ],
    ids=[
        "syntax",
        "raises",
        "exits",
        "import",
        "none",
        "number",
        "type",
        "taken",
        "lookback",
        "null",
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence(file_of, text, sentence):
    with pytest.raises(DataError, match=sentence) as said:
        load_feature_file(file_of(text), default_registry())
    assert "mine.py" in str(said.value)
    assert "\n" not in str(said.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    for path in (tmp_path / "none.py", tmp_path):
        with pytest.raises(DataError, match="file of features must be readable; got") as said:
            load_feature_file(path, default_registry())
        assert str(path) in str(said.value)
    (tmp_path / "bytes.py").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="must be readable"):
        load_feature_file(tmp_path / "bytes.py", default_registry())


def test_a_feature_that_looks_ahead_is_refused(file_of):
    leak = "lambda b: np.vstack([b.close[1:] / b.close[:-1], np.ones((1, b.shape[1]))])"
    with pytest.raises(LookAheadError, match="feature mine must depend on no later bar"):
        registry_with([file_of(one(leak))])


def test_a_feature_of_the_level_of_prices_is_refused(file_of):
    with pytest.raises(DataError, match="feature mine must not depend on the level of prices"):
        registry_with([file_of(one("lambda b: np.log(b.close)"))])


@pytest.mark.parametrize(
    ("compute", "sentence"),
    [
        ("lambda b: b.close[1:]", "must return finite or missing numbers of shape"),
        ("lambda b: b.no_such", "must return numbers for these bars; got AttributeError"),
        ("lambda b: 'high'", "must return numbers for these bars; got ValueError"),
    ],
)
def test_a_feature_that_fails_is_refused(file_of, compute, sentence):
    with pytest.raises(DataError, match=f"feature mine {sentence}"):
        registry_with([file_of(one(compute))])


def test_two_files_may_not_take_the_same_name(file_of, tmp_path):
    first = file_of(one("lambda b: b.close / b.open"))
    second = tmp_path / "second.py"
    second.write_text(first.read_text())
    with pytest.raises(DataError, match=r"second\.py: a feature's name must be new; got mine"):
        registry_with([first, second])
