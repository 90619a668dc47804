"""The comparison of orders of asking: it runs end to end, and its summary is right by hand."""

import json
from pathlib import Path

import pandas as pd
import pytest

from backtests.label_queues import answers_needed, summarise_queues
from backtests.run_label_efficiency import main

CONFIG = Path(__file__).parents[2] / "backtests/configs/label_queues_smoke.yaml"


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> dict:
    out = tmp_path_factory.mktemp("study") / "queues.json"
    assert main(["--queues", "--config", str(CONFIG), "--out", str(out)]) == 0
    return json.loads(out.read_text())


def test_both_orders_are_measured_in_every_cell_and_start_alike(content: dict) -> None:
    rows = pd.DataFrame(content["rows"])
    table = rows.pivot_table(index=["style", "answers"], columns="queue", values="log_loss")
    assert table.shape == (6, 2)
    alike = table["active"] == table["random"]
    assert alike.groupby("answers").all().to_dict() == {40: True, 150: False, 160: False}
    assert rows["accuracy"].between(0, 1).all()
    assert set(content["answers_needed"]) == {"accuracy", "accuracy_notional"}


def test_a_wrong_comparison_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(CONFIG.read_text().replace("pool: 250", "pool: 2"))
    out = tmp_path / "r.json"
    assert main(["--queues", "--config", str(config), "--out", str(out)]) == 1
    assert capsys.readouterr().err.startswith("Error: ")
    assert not out.exists()


def curves(random: list[float], active: list[float]) -> pd.DataFrame:
    """Two cells that differ by a constant, at 100, 150, 200 and 300 answers."""
    return pd.DataFrame(
        [
            {"queue": queue, "answers": n, "seed": seed, "style": "trend", "draw": 0,
             "accuracy": value + 0.01 * seed}
            for queue, values in (("random", random), ("active", active))
            for n, value in zip((100, 150, 200, 300), values, strict=True)
            for seed in (0, 1)
        ]
    )  # fmt: skip


def test_the_share_of_answers_is_read_off_the_curves() -> None:
    same = answers_needed(curves([0.6, 0.7, 0.8, 0.9], [0.6, 0.7, 0.8, 0.9]))
    assert same["share"] == pytest.approx(1.0)
    assert same["share_se"] == pytest.approx(0.0, abs=1e-9)
    assert same["not_reached"] == 0.0
    # .70 is reached at 125, .80 at 150 and .90 at 200 answers.
    quicker = answers_needed(curves([0.6, 0.7, 0.8, 0.9], [0.6, 0.8, 0.9, 0.95]))
    assert quicker["share"] == pytest.approx((125 / 150 + 150 / 200 + 200 / 300) / 3)
    slower = answers_needed(curves([0.6, 0.7, 0.8, 0.9], [0.6, 0.65, 0.7, 0.8]))
    assert slower["share"] == pytest.approx((200 / 150 + 300 / 200 + 300 / 300) / 3)
    assert slower["not_reached"] == 1.0


def test_the_table_pairs_the_cells() -> None:
    rows = curves([0.6, 0.7, 0.8, 0.9], [0.6, 0.8, 0.9, 0.95])
    rows["accuracy_notional"] = rows["log_loss"] = rows["accuracy"]
    table = summarise_queues(rows)
    assert table.loc["150 answers", "accuracy, random"] == "0.705 ± 0.005"
    assert table.loc["150 answers", "accuracy, active - random"] == "0.100 ± 0.000"
