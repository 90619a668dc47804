"""Settings files: one sentence for whatever is wrong, and nothing that wins in silence."""

from pathlib import Path

import pytest

from trading_rlhf.config import read_config
from trading_rlhf.errors import ConfigError
from trading_rlhf.store.yaml_files import read_mapping

DEEP = "".join(f"{'  ' * i}a{i}:\n" for i in range(600)) + "  " * 600 + "b: 1\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("seed: 1\nseed: 2\n", "seed twice"),
        ("costs:\n  impact:\n    lookback: 3\n    lookback: 4\n", "lookback twice"),
        ("1: 2\n", "a key that is no word"),
        ("null: 2\n", "a key that is no word"),
        ("a: &x [1, 2]\nb: [*x, *x]\n", "write the value out"),
        (f"seed: 1{'0' * 5000}\n", "4300 digits"),
        ("[" * 3000 + "]" * 3000, "too many levels"),
        (DEEP, "too many levels"),
        ("- 1\n", r"got .*\[1\]"),
        ("", "holds keys and values"),
        ("a: 'b", "readable YAML"),
        ("x: " + "y" * 1_000_001, "1000005 characters|1000004 characters"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=says) as caught:
        read_mapping(path, "a configuration")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("costs: {commission_bps: true}", r"costs.commission_bps: input should be"),
        ("costs: {comission_bps: 1}", "known are commission_bps, half_spread_bps"),
        ("features: [trend_60, trend_60]", "each feature may be named once"),
        (f"data: [{'x' * 5000}]", "data: input should be a valid string"),
    ],
)
def test_settings_that_cannot_be_meant(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=says) as caught:
        read_config(path)
    assert len(str(caught.value)) < 700


def test_a_rate_for_each_asset(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("costs:\n  half_spread_bps: [7, 8, 9, 9]\n")
    assert read_config(path).costs.half_spread_bps == (7.0, 8.0, 9.0, 9.0)
