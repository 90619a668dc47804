"""Reward models on disk: the same bits back, or one sentence."""

import json

import pytest
import torch

from tests.reward.synthetic import NAMES, answers
from trading_rlhf.errors import CheckpointError
from trading_rlhf.reward import (
    FitConfig,
    Quality,
    fit_reward_model,
    load_reward_model,
    save_reward_model,
)

CONFIG = FitConfig(iterations=5, members=2, hidden=3)
MEASURED = Quality(40, 0.8, 0.5, 0.2, 0.05, 0.9)


@pytest.fixture(scope="module")
def model():
    verdicts = answers("trend", 40, 0).verdicts
    return fit_reward_model(verdicts, CONFIG, torch.Generator().manual_seed(0)).model


@pytest.fixture
def stored(tmp_path, model):
    return save_reward_model(model, tmp_path, NAMES, ("a1", "a2"), True, MEASURED, CONFIG)


def test_a_model_comes_back(tmp_path, stored, model):
    loaded, record = load_reward_model(tmp_path, stored.id)
    assert record == stored
    assert record.simulated
    assert record.quality["auc"] == 0.9
    for name, tensor in model.tensors().items():
        assert torch.equal(loaded.tensors()[name], tensor)


def test_the_id_is_the_content(tmp_path, stored, model):
    again = save_reward_model(model, tmp_path, NAMES, (), False, None, CONFIG)
    assert again.id == stored.id
    other = CONFIG.model_copy(update={"pessimism": 1.0})
    assert save_reward_model(model, tmp_path, NAMES, (), False, None, other).id != stored.id


def edit(file, change):
    record = json.loads(file.read_text())
    change(record)
    file.write_text(json.dumps(record))


@pytest.mark.parametrize(
    "damage",
    [
        lambda weights, record: weights.write_bytes(weights.read_bytes()[:-9]),
        lambda weights, record: weights.write_bytes(weights.read_bytes()[:-1] + b"\x01"),
        lambda weights, record: weights.unlink(),
        lambda weights, record: record.unlink(),
        lambda weights, record: record.write_text("{"),
        lambda weights, record: record.write_text("[]"),
        lambda weights, record: edit(record, lambda r: r.pop("simulated")),
        lambda weights, record: edit(record, lambda r: r.update(more=1)),
        lambda weights, record: edit(record, lambda r: r["config"].update(pessimism=0.0)),
        lambda weights, record: edit(record, lambda r: r["feature_names"].reverse()),
    ],
)
def test_a_damaged_model_is_refused_in_one_sentence(tmp_path, stored, damage):
    damage(tmp_path / f"{stored.id}.safetensors", tmp_path / f"{stored.id}.json")
    with pytest.raises(CheckpointError, match=r"^a checkpoint.*; got .*\.$"):
        load_reward_model(tmp_path, stored.id)


def test_weights_of_something_else_are_refused(tmp_path, stored):
    from trading_rlhf.store.weights import write_weights

    record = json.loads((tmp_path / f"{stored.id}.json").read_text())
    write_weights(tmp_path / stored.id, {"line_weight": torch.zeros(1)}, record)
    with pytest.raises(CheckpointError, match="must hold a complete reward model"):
        load_reward_model(tmp_path, stored.id)


def test_a_renamed_model_is_refused(tmp_path, stored):
    for suffix in (".json", ".safetensors"):
        (tmp_path / f"{stored.id}{suffix}").rename(tmp_path / f"best{suffix}")
    with pytest.raises(CheckpointError, match="content must match its id"):
        load_reward_model(tmp_path, "best")
