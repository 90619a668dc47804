"""The project's own source, read once."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("trading_rlhf", "dashboards", "backtests", "data", "tests")


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def sources() -> dict[str, str]:
    """Text of every Python file, by path from the root."""
    files = [file for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*.py"))]
    return {file.relative_to(ROOT).as_posix(): file.read_text("utf-8") for file in files}


@pytest.fixture(scope="session")
def trees(sources: dict[str, str]) -> dict[str, ast.Module]:
    return {path: ast.parse(text) for path, text in sources.items()}


@pytest.fixture(scope="session")
def package(trees: dict[str, ast.Module]) -> dict[str, ast.Module]:
    """Modules of the package; migrations are scripts that only Alembic reads."""
    return {
        path: tree
        for path, tree in trees.items()
        if path.startswith("trading_rlhf/") and "/migrations/" not in path
    }
