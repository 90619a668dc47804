"""Inputs by hand, and one batched call that equals the models one by one."""

import pytest
import torch

from tests.reward.synthetic import N_ASSETS, NAMES
from trading_rlhf.errors import CheckpointError
from trading_rlhf.proposals import TradeTensors
from trading_rlhf.reward import ModelDesk, RewardModel, trade_inputs

INPUTS = 2 * len(NAMES) + 6


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model(models: int = 3, members: int = 4, width: int = 5, seed: int = 0) -> RewardModel:
    source = generator(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(models, members, *shape, generator=source)

    return RewardModel(
        draw(INPUTS), draw(), draw(INPUTS, width), draw(width), draw(width),
        torch.rand(models, generator=source) + 0.5,
    )  # fmt: skip


def one(many: RewardModel, index: int) -> RewardModel:
    return RewardModel(**{k: v[index : index + 1] for k, v in many.tensors().items()})


def states(models: int, episodes: int = 7) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    source = generator(8)
    features = torch.randn(episodes, N_ASSETS, len(NAMES), generator=source)
    held, target = (
        torch.randn(models, episodes, N_ASSETS + 1, generator=source).softmax(-1)[..., :-1]
        for _ in range(2)
    )
    return features, held, target


def test_inputs_by_hand():
    """Two assets: a purchase of 10% and a sale of all."""
    features = torch.tensor([[1.0, -2.0], [0.5, 3.0]])
    rows = trade_inputs(features, torch.tensor([0.2, 0.6]), torch.tensor([0.3, 0.0]))
    assert rows[0].tolist() == pytest.approx(
        [0.4, -0.8, 1.0, -2.0, 1.0, 0.2, 0.3, 0.2, 0.2, 0.8], abs=1e-6
    )
    assert rows[1].tolist() == pytest.approx(
        [0.2, 1.2, -0.5, -3.0, -1.0, 0.6, 0.0, -1.0, 1.2, 0.8], abs=1e-6
    )


def test_an_equal_weight_looks_alike_among_few_and_many():
    few = trade_inputs(torch.ones(4, 1), torch.full((4,), 0.2), torch.full((4,), 0.25))
    many = trade_inputs(torch.ones(20, 1), torch.full((20,), 0.04), torch.full((20,), 0.05))
    torch.testing.assert_close(few[0], many[0])


def test_stacked_models_score_as_each_alone():
    many, (features, held, target) = model(), states(3)
    p = many.approval(features, held, target, pessimism=0.5)
    assert p.shape == (3, 7, N_ASSETS)
    spread = many.disagreement(features, held, target)
    for i in range(3):
        own = (features, held[i : i + 1], target[i : i + 1])
        torch.testing.assert_close(one(many, i).approval(*own, pessimism=0.5)[0], p[i])
        torch.testing.assert_close(one(many, i).disagreement(*own)[0], spread[i])


def test_a_batch_of_trades_scores_as_each_alone():
    single, (features, held, target) = model(models=1), states(1)
    p = single.approval(features, held, target)
    for row in range(7):
        for asset in range(N_ASSETS):
            logit = 0.0
            inputs = trade_inputs(features[row], held[0, row], target[0, row])[asset]
            for m in range(4):
                hidden = torch.tanh(inputs @ single.hidden_weight[0, m] + single.hidden_bias[0, m])
                logit += inputs @ single.line_weight[0, m] + single.line_bias[0, m]
                logit += hidden @ single.out_weight[0, m]
            expected = torch.sigmoid(logit / 4 / single.temperature[0])
            torch.testing.assert_close(p[0, row, asset], expected, rtol=1e-4, atol=1e-6)


def test_weights_without_the_leading_axis_meet_every_model():
    many, (features, held, target) = model(), states(1)
    p = many.approval(features, held[0], target[0])
    assert p.shape == (3, 7, N_ASSETS)
    for i in range(3):
        torch.testing.assert_close(one(many, i).approval(features, held, target)[0], p[i])


def test_pessimism_lowers_by_the_spread_over_members():
    many, state = model(), states(3)
    logits = many.logits(*state)
    expected = torch.sigmoid(logits.mean(1) - 0.5 * logits.std(1))
    torch.testing.assert_close(many.approval(*state, pessimism=0.5), expected)
    assert (many.approval(*state, pessimism=0.5) < many.approval(*state)).all()


def test_one_member_knows_no_spread():
    lonely, state = model(members=1), states(3)
    assert torch.equal(lonely.approval(*state, pessimism=0.5), lonely.approval(*state))
    assert not lonely.disagreement(*state).any()


def test_temperature_divides_the_logits():
    cool, state = model(), states(3)
    warm = RewardModel(**{**cool.tensors(), "temperature": cool.temperature * 2})
    torch.testing.assert_close(warm.logits(*state) * 2, cool.logits(*state))


def test_models_stack():
    many = model()
    joined = RewardModel.stack([one(many, 2), one(many, 0)])
    assert joined.n_models == 2
    for name, tensor in joined.tensors().items():
        assert torch.equal(tensor, many.tensors()[name][[2, 0]])
    with pytest.raises(CheckpointError, match="must have one shape"):
        RewardModel.stack([one(many, 0), model(models=1, width=9)])


def test_a_proposal_scores_as_the_same_trade_in_a_walk():
    """The queue and the filter see one trade; the gate sees a whole portfolio of them."""
    single, (features, held, target) = model(models=1), states(1)
    p = single.approval(features, held, target)[0]
    for asset in range(N_ASSETS):
        others = [i for i in range(N_ASSETS) if i != asset]
        trades = TradeTensors(
            features[:, asset], held[0][:, [asset, *others]], target[0, :, asset], torch.arange(7)
        )
        torch.testing.assert_close(trades.approval(ModelDesk(single)), p[:, asset])
