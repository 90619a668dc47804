"""The fit finds what a desk likes, among mistakes, spammers and placebos."""

import pytest
import torch

from tests.reward.synthetic import NAMES, answers, random_trades
from trading_rlhf.errors import NotEnoughAnswersError
from trading_rlhf.feedback.simulated import STYLES, StyleDesk
from trading_rlhf.proposals import TradeTensors
from trading_rlhf.reward import (
    FitConfig,
    ModelDesk,
    RewardModel,
    Verdicts,
    fit_reward_model,
)

CONFIG = FitConfig()
QUICK = FitConfig(iterations=20, members=3)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def accuracy(model: RewardModel, style: str) -> float:
    """Share of fresh trades on which the model sides with the desk's true majority."""
    fresh = random_trades(2000, generator(99))
    liked = fresh.approval(StyleDesk.of(style, NAMES)) > 0.5
    return float(((fresh.approval(ModelDesk(model)) > 0.5) == liked).float().mean())


@pytest.fixture(scope="module")
def fits() -> dict[str, tuple[list[float], list[float]]]:
    """Accuracy after 300 answers with 10% mistakes, and after the same answers shuffled."""
    found = {}
    for style in STYLES:
        real, placebo = [], []
        for seed in range(3):
            verdicts = answers(style, 300, seed).verdicts
            real.append(accuracy(fit_reward_model(verdicts, CONFIG, generator(seed)).model, style))
            shuffled = verdicts.shuffled(generator(seed + 100))
            blind = fit_reward_model(shuffled, CONFIG, generator(seed))
            placebo.append(accuracy(blind.model, style))
        found[style] = real, placebo
    return found


def test_300_answers_recover_the_desk(fits):
    every = [value for real, _ in fits.values() for value in real]
    assert sum(every) / len(every) >= 0.85
    assert min(every) >= 0.8


@pytest.mark.parametrize("style", STYLES)
def test_shuffled_answers_teach_nothing(fits, style):
    real, placebo = fits[style]
    assert min(real) > max(placebo) + 0.15
    # The best that knowing nothing can do is to say what the desk says more often.
    assert sum(placebo) / 3 < 0.66


def test_more_answers_teach_more(fits):
    many = answers("trend", 1500, 0).verdicts
    assert accuracy(fit_reward_model(many, CONFIG, generator()).model, "trend") > 0.9


def test_a_spammer_ends_with_skill_near_zero():
    honest, spam = [], []
    for seed in range(4):
        verdicts = answers("trend", 450, seed, reviewers=3, spammer=1).verdicts
        skill = fit_reward_model(verdicts, CONFIG, generator(seed)).effects.skill[0].mean(0)
        honest.append(float(skill[[0, 2]].mean()))
        spam.append(float(skill[1]))
    # 150 coin tosses agree with the desk by luck now and then, so the mean of four desks counts.
    assert abs(sum(spam) / 4) < 0.25
    # Judged by answers that were learned, the honest would seem half as skilled again.
    assert sum(honest) / 4 == pytest.approx(1.0, abs=0.25)


def test_a_contrarian_ends_below_zero_and_still_teaches():
    made = answers("trend", 450, 2, reviewers=3)
    who, said = made.verdicts.reviewer[0], made.verdicts.approved[0]
    contrary = torch.where(who == 2, 1 - said, said)
    fitted = fit_reward_model(Verdicts.of_trades(made.trades, contrary, who), CONFIG, generator())
    skill = fitted.effects.skill[0].mean(0)
    assert float(skill[2]) < -0.2
    assert float(skill[:2].min()) > 0.5
    assert accuracy(fitted.model, "trend") > 0.8


def test_mistakes_are_estimated_from_answers_that_were_not_learned():
    """One answer in ten flipped is a lapse of .2; none is less, one in four is more."""
    lapse = []
    for mistake in (0.0, 0.1, 0.25):
        many = answers("trend", 300, 3, mistake=mistake).verdicts
        found = fit_reward_model(many, CONFIG, generator()).effects.lapse_logit
        lapse.append(float(torch.sigmoid(found).mean()))
    assert lapse[0] < lapse[1] < lapse[2]
    assert lapse[1] == pytest.approx(0.2, abs=0.04)


def test_answers_without_weight_do_not_count():
    good = answers("trend", 300, 0)
    trades = good.trades
    doubled = TradeTensors(*(
        torch.cat([x, x]) for x in (trades.features, trades.held, trades.target, trades.bar)
    ))  # fmt: skip
    approved = good.verdicts.approved[0]
    contradictory = torch.cat([approved, 1 - approved])

    def fitted(lie_weight: float) -> float:
        weight = torch.cat([torch.ones(300), torch.full((300,), lie_weight)])
        verdicts = Verdicts.of_trades(doubled, contradictory, weight=weight)
        return accuracy(fit_reward_model(verdicts, CONFIG, generator()).model, "trend")

    assert fitted(0.0) > 0.8
    assert fitted(1.0) < 0.7


def test_a_reviewer_who_approves_more_gets_a_bias_of_his_own():
    made = answers("reversal", 600, 1, reviewers=2)
    lenient = made.verdicts.approved.clone()
    soft = torch.rand(600, generator=generator(5)) < 0.5
    lenient[0, (made.verdicts.reviewer[0] == 1) & soft] = 1.0
    verdicts = Verdicts.of_trades(made.trades, lenient[0], made.verdicts.reviewer[0])
    bias = fit_reward_model(verdicts, CONFIG, generator()).effects.bias[0].mean(0)
    assert float(bias[1] - bias[0]) > 0.5


def test_the_same_seed_is_the_same_model_bit_for_bit():
    verdicts = answers("trend", 100, 0).verdicts
    one, same, other = (fit_reward_model(verdicts, QUICK, generator(s)) for s in (1, 1, 2))
    for name, tensor in one.model.tensors().items():
        assert torch.equal(tensor, same.model.tensors()[name])
    assert not torch.equal(one.model.line_weight, other.model.line_weight)


def test_members_differ_because_their_answers_do():
    verdicts = answers("trend", 100, 0).verdicts
    weights = fit_reward_model(verdicts, CONFIG, generator()).model.line_weight[0]
    assert float(weights.std(0).mean()) > 0.01


def test_fitting_changes_no_tensor_that_needs_a_gradient():
    """A model in the rollout must not collect gradients of its own."""
    fitted = fit_reward_model(answers("trend", 60, 0).verdicts, QUICK, generator())
    assert not any(tensor.requires_grad for tensor in fitted.model.tensors().values())
    assert not any(tensor.requires_grad for tensor in fitted.effects.parameters())


def test_sets_are_fitted_side_by_side():
    sets = [answers(style, 80, 0, reviewers=2).verdicts for style in ("trend", "reversal")]
    both = Verdicts(
        *(torch.cat([getattr(v, name) for v in sets])
          for name in ("inputs", "approved", "reviewer", "weight", "bar")), 2,
    )  # fmt: skip
    fitted = fit_reward_model(both, CONFIG, generator())
    single = fit_reward_model(sets[0], CONFIG, generator())
    for name, tensor in fitted.model.tensors().items():
        assert tensor.shape == (2, *single.model.tensors()[name].shape[1:])
    assert fitted.effects.skill.shape == (2, 5, 2)
    liked = [[accuracy(RewardModel(**{k: v[i : i + 1] for k, v in fitted.model.tensors().items()}),
                       style) for style in ("trend", "reversal")] for i in (0, 1)]  # fmt: skip
    # Each learned its own desk, not the other's.
    assert liked[0][0] > liked[0][1] + 0.1
    assert liked[1][1] > liked[1][0] + 0.1


@pytest.mark.parametrize("count", [10, 29])
def test_too_few_answers_are_refused(count):
    with pytest.raises(NotEnoughAnswersError, match=f"at least 30 verdicts; got {count}"):
        fit_reward_model(answers("trend", count, 0).verdicts, CONFIG, generator())


@pytest.mark.parametrize("verdict", [0.0, 1.0])
def test_answers_of_one_kind_are_refused(verdict):
    trades = random_trades(50, generator())
    verdicts = Verdicts.of_trades(trades, torch.full((50,), verdict))
    with pytest.raises(NotEnoughAnswersError, match="both approvals and rejections"):
        fit_reward_model(verdicts, CONFIG, generator())


def test_shuffling_moves_answers_with_their_reviewer_and_weight():
    verdicts = answers("trend", 40, 0, reviewers=4).verdicts
    marked = Verdicts(
        verdicts.inputs, verdicts.approved, verdicts.reviewer,
        verdicts.reviewer + 10 * verdicts.approved, verdicts.bar, 4,
    )  # fmt: skip
    shuffled = marked.shuffled(generator())
    assert torch.equal(shuffled.weight, shuffled.reviewer + 10 * shuffled.approved)
    assert not torch.equal(shuffled.approved, marked.approved)
    assert sorted(shuffled.weight[0].tolist()) == sorted(marked.weight[0].tolist())
    assert torch.equal(shuffled.inputs, marked.inputs)


def test_rows_are_answers():
    verdicts = answers("trend", 40, 0, reviewers=4).verdicts
    some = verdicts.rows(torch.tensor([[5, 2, 39]]))
    for name in ("inputs", "approved", "reviewer", "weight", "bar"):
        assert torch.equal(getattr(some, name)[0], getattr(verdicts, name)[0, [5, 2, 39]])
    assert some.reviewers == 4
