"""The command line answers at once: heavy libraries load in the rooms that use them."""

import subprocess
import sys

import pytest

HEAVY = {"torch", "numba", "pandas", "vectorbt", "skfolio", "yfinance", "plotly", "sqlalchemy"}


@pytest.mark.parametrize(
    "statement",
    ["import trading_rlhf", "from trading_rlhf.cli import app; app.help_print([])"],
)
def test_nothing_heavy_is_loaded(statement: str) -> None:
    code = f"{statement}; import sys; print('\\n' + ' '.join(sys.modules))"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert HEAVY & set(answer.stdout.splitlines()[-1].split()) == set()
