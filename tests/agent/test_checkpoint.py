"""Policies and trainings on disk: the same bits back, or one sentence."""

import json

import pytest
import torch

from trading_rlhf.accounting import CostModel
from trading_rlhf.agent import (
    Policy,
    PolicyConfig,
    PpoConfig,
    ProfitReward,
    TrainConfig,
    load_policy,
    load_training,
    save_policy,
    save_training,
    start_training,
    train,
)
from trading_rlhf.errors import CheckpointError

NAMES = ("a", "b", "c", "d", "e")
CONFIG = TrainConfig(iterations=6, horizon=6, batch=8)
PPO = TrainConfig(
    method="ppo", iterations=6, horizon=6, batch=8, ppo=PpoConfig(epochs=3, minibatch=20)
)
IDENTITY = {"data": "f" * 64, "features": list(NAMES), "seed": 1}


def policy(seed: int = 0, members: int = 2) -> Policy:
    return Policy(5, PolicyConfig(hidden=8), members, torch.Generator().manual_seed(seed))


def same(one: Policy, other: Policy) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def go(training, market, until: int, config: TrainConfig = CONFIG):
    return train(
        training, market.tensors, range(50, 300), CostModel(), config, ProfitReward(5.0),
        until=until, anchor=policy(5),
    )  # fmt: skip


@pytest.fixture
def stored(tmp_path):
    return save_policy(policy(), tmp_path, NAMES, "f" * 64, "base", parent="0" * 16)


def test_a_policy_comes_back(tmp_path, stored):
    loaded, record = load_policy(tmp_path, stored.id)
    assert record == stored
    assert same(loaded, policy())
    assert (loaded.config, loaded.members) == (PolicyConfig(hidden=8), 2)
    assert (record.note, record.parent, record.feature_names) == ("base", "0" * 16, NAMES)


def test_the_id_is_the_content(tmp_path, stored):
    assert save_policy(policy(), tmp_path, NAMES, "e" * 64, "again").id == stored.id
    assert save_policy(policy(1), tmp_path, NAMES, "f" * 64, "base").id != stored.id
    assert save_policy(policy(), tmp_path, NAMES[::-1], "f" * 64, "base").id != stored.id


def test_a_plain_policy_says_nothing_of_settings_that_came_later(stored, tmp_path):
    """So its id, which names proposals, is what it was; and old checkpoints have none of them."""
    assert set(stored.config) == {"hidden", "tilt", "max_gross"}
    windowed = PolicyConfig(hidden=8, encoder="gru", window=4, long_only=False)
    record = save_policy(
        Policy(5, windowed, 1, torch.Generator().manual_seed(0)), tmp_path, NAMES, "f" * 64, "base"
    )
    added = {"encoder": "gru", "window": 4, "long_only": False}
    assert record.config == {**stored.config, **added}


def test_nothing_is_left_aside(tmp_path, stored):
    assert {file.suffix for file in tmp_path.iterdir()} == {".json", ".safetensors"}


def truncate(folder, name):
    file = folder / f"{name}.safetensors"
    file.write_bytes(file.read_bytes()[:-40])


def flip_a_bit(folder, name):
    file = folder / f"{name}.safetensors"
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(data)


def lose_the_weights(folder, name):
    (folder / f"{name}.safetensors").unlink()


def lose_the_meaning(folder, name):
    (folder / f"{name}.json").unlink()


def break_the_json(folder, name):
    (folder / f"{name}.json").write_text('{"id": ')


def make_the_json_a_list(folder, name):
    (folder / f"{name}.json").write_text("[1, 2]")


def drop_a_field(folder, name):
    edit(folder, name, lambda record: record.pop("members"))


def another_width(folder, name):
    edit(folder, name, lambda record: record["config"].update(hidden=16))


def another_limit(folder, name):
    edit(folder, name, lambda record: record["config"].update(max_gross=0.5))


def an_unknown_setting(folder, name):
    edit(folder, name, lambda record: record["config"].update(dropout=0.1))


def one_feature_less(folder, name):
    edit(folder, name, lambda record: record["feature_names"].pop())


def edit(folder, name, change):
    file = folder / f"{name}.json"
    record = json.loads(file.read_text())
    change(record)
    file.write_text(json.dumps(record))


DAMAGES = [
    truncate, flip_a_bit, lose_the_weights, lose_the_meaning, break_the_json,
    make_the_json_a_list, drop_a_field, another_width, another_limit, an_unknown_setting,
    one_feature_less,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_policy_is_refused_in_one_sentence(tmp_path, stored, damage):
    damage(tmp_path, stored.id)
    with pytest.raises(CheckpointError, match=r"a checkpoint.*; got .*\."):
        load_policy(tmp_path, stored.id)


def test_a_renamed_policy_is_refused(tmp_path, stored):
    for suffix in (".json", ".safetensors"):
        (tmp_path / f"{stored.id}{suffix}").rename(tmp_path / f"best{suffix}")
    with pytest.raises(CheckpointError, match=r"content must match its id.*in the file named best"):
        load_policy(tmp_path, "best")


def test_a_policy_that_never_was_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="readable pair"):
        load_policy(tmp_path, "0" * 16)


def test_an_interrupted_training_ends_where_an_uninterrupted_one_does(tmp_path, market):
    whole = policy()
    expected = go(start_training(whole, CONFIG, torch.Generator().manual_seed(3)), market, 6)
    first = policy()
    training = go(start_training(first, CONFIG, torch.Generator().manual_seed(3)), market, 2)
    save_training(training, tmp_path / "training", CONFIG, IDENTITY)
    del first, training
    resumed = policy(seed=9)
    training = load_training(tmp_path / "training", resumed, CONFIG, IDENTITY)
    assert training.iteration == 2
    go(training, market, 6)
    assert same(resumed, whole)
    assert training.history == expected.history
    assert torch.equal(training.frozen, expected.frozen)


def test_an_interrupted_ppo_training_does_so_with_its_critic(tmp_path, market):
    whole = policy()
    expected = go(start_training(whole, PPO, torch.Generator().manual_seed(3)), market, 6, PPO)
    training = go(start_training(policy(), PPO, torch.Generator().manual_seed(3)), market, 2, PPO)
    save_training(training, tmp_path / "training", PPO, IDENTITY)
    del training
    resumed = policy(seed=9)
    training = load_training(tmp_path / "training", resumed, PPO, IDENTITY)
    go(training, market, 6, PPO)
    assert same(resumed, whole)
    assert same(training.critic, expected.critic)
    assert training.history == expected.history
    states = zip(training.optimizer.state.values(), expected.optimizer.state.values(), strict=True)
    for state, other in states:
        assert state.keys() == other.keys()
        assert all(torch.equal(state[name], other[name]) for name in state)


def test_settings_that_came_later_than_a_kept_training_have_their_defaults(kept):
    edit(kept.parent, kept.name, lambda meta: meta["config"].pop("truncation"))
    edit(kept.parent, kept.name, lambda meta: meta["config"].pop("ppo"))
    assert load_training(kept, policy(), CONFIG, IDENTITY).iteration == 2


def test_frozen_policies_stay_frozen(tmp_path):
    training = start_training(policy(), CONFIG, torch.Generator().manual_seed(3))
    training.frozen[1] = True
    save_training(training, tmp_path / "training", CONFIG, IDENTITY)
    again = load_training(tmp_path / "training", policy(), CONFIG, IDENTITY)
    assert again.frozen.tolist() == [False, True]


@pytest.fixture
def kept(tmp_path, market):
    training = go(start_training(policy(), CONFIG, torch.Generator().manual_seed(3)), market, 2)
    save_training(training, tmp_path / "training", CONFIG, IDENTITY)
    return tmp_path / "training"


def test_no_training_is_none(tmp_path):
    assert load_training(tmp_path / "training", policy(), CONFIG, IDENTITY) is None


def test_a_kill_between_the_two_files_starts_anew(kept, market):
    older = kept.with_suffix(".json").read_text()
    training = load_training(kept, policy(), CONFIG, IDENTITY)
    save_training(go(training, market, 4), kept, CONFIG, IDENTITY)
    kept.with_suffix(".json").write_text(older)
    assert load_training(kept, policy(), CONFIG, IDENTITY) is None


@pytest.mark.parametrize(
    ("config", "identity"),
    [
        (CONFIG.model_copy(update={"learning_rate": 0.1}), IDENTITY),
        (CONFIG, {**IDENTITY, "data": "e" * 64}),
    ],
)
def test_a_training_of_other_settings_or_data_is_refused(kept, config, identity):
    with pytest.raises(CheckpointError, match="only with its own settings and data"):
        load_training(kept, policy(), config, identity)


@pytest.mark.parametrize(
    "damage",
    [truncate, lose_the_weights, break_the_json, make_the_json_a_list,
     lambda folder, name: edit(folder, name, lambda meta: meta.pop("iteration"))],
)  # fmt: skip
def test_a_damaged_training_is_refused_in_one_sentence(kept, damage):
    damage(kept.parent, kept.name)
    with pytest.raises(CheckpointError, match=r"; got .*\."):
        load_training(kept, policy(), CONFIG, IDENTITY)


def test_a_training_of_another_shape_is_refused(kept):
    other = Policy(5, PolicyConfig(hidden=16), 2, torch.Generator())
    with pytest.raises(CheckpointError, match=r"; got .*\."):
        load_training(kept, other, CONFIG, IDENTITY)
