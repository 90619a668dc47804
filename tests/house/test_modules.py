"""What every module has, and what none may use."""

import ast
from collections.abc import Iterator

import pytest

PICKLES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
PICKLERS = {"read_pickle", "to_pickle", "torch.load", "torch.save"}
NAIVE = {"datetime.utcnow", "datetime.today", "date.today", "datetime.utcfromtimestamp"}


def starts_with_all(tree: ast.Module) -> bool:
    """Whether ``__all__`` comes before every other name that the module defines."""
    for node in tree.body:
        for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if for_types or isinstance(node, ast.Import | ast.ImportFrom | ast.Expr):
            continue
        target = node.target if isinstance(node, ast.AnnAssign) else None
        if isinstance(node, ast.Assign):
            target = node.targets[0]
        return target is not None and ast.unparse(target) == "__all__"
    return False


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def pickling(tree: ast.Module) -> list[str]:
    found = [f"import {name}" for name in imported(tree) if name in PICKLES]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and {node.attr, ast.unparse(node)} & PICKLERS:
            found.append(f"{ast.unparse(node)} in line {node.lineno}")
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            found.append(f"allow_pickle in line {node.lineno}")
    return found


def naive_times(tree: ast.Module) -> list[str]:
    """Calls that answer with a time without a zone."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        name = ".".join(ast.unparse(node.func).split(".")[-2:])
        values = [*node.args, *(keyword.value for keyword in node.keywords)]
        zoneless = all(isinstance(v, ast.Constant) and v.value is None for v in values)
        if name in NAIVE or (name in ("datetime.now", "Timestamp.now") and zoneless):
            found.append(f"{ast.unparse(node)} in line {node.lineno}")
    return found


def test_all_comes_first(package: dict[str, ast.Module]) -> None:
    assert [path for path, tree in package.items() if not starts_with_all(tree)] == []


def test_nothing_is_pickled(trees: dict[str, ast.Module]) -> None:
    assert [f"{path}: {what}" for path, tree in trees.items() for what in pickling(tree)] == []


def test_every_time_has_a_zone(trees: dict[str, ast.Module]) -> None:
    assert [f"{path}: {what}" for path, tree in trees.items() for what in naive_times(tree)] == []


@pytest.mark.parametrize(
    ("source", "good"),
    [
        ('"""Doc."""\nimport os\n__all__ = ["f"]\nLIMIT = 1\n', True),
        ('"""Doc."""\nimport os\nLIMIT = 1\n__all__ = ["f"]\n', False),
        ('"""Doc."""\n__all__: list[str] = []\n', True),
        ('"""Doc."""\ndef f(): ...\n', False),
        ('"""Doc."""\n', False),
    ],
)
def test_a_late_or_missing_all_is_found(source: str, good: bool) -> None:
    assert starts_with_all(ast.parse(source)) is good


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "def f():\n    import joblib.hashing",
        "torch.load(path)",
        "frame.to_pickle(path)",
        "np.load(path, allow_pickle=True)",
    ],
)
def test_a_pickle_is_found(source: str) -> None:
    assert len(pickling(ast.parse(source))) == 1


@pytest.mark.parametrize(
    ("source", "offences"),
    [
        ("datetime.now()", 1),
        ("datetime.datetime.now(None)", 1),
        ("datetime.now(tz=None)", 1),
        ("pd.Timestamp.now()", 1),
        ("datetime.utcnow()", 1),
        ("date.today()", 1),
        ("datetime.now(UTC)", 0),
        ("pd.Timestamp.now(tz='UTC')", 0),
        ("clock.now()", 0),
    ],
)
def test_a_naive_time_is_found(source: str, offences: int) -> None:
    assert len(naive_times(ast.parse(source))) == offences
