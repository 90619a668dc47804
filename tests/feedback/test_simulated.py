"""The simulated desk: tastes by trade, flaws by counting."""

import pytest
import torch
from pydantic import ValidationError

from trading_rlhf.errors import ConfigError
from trading_rlhf.feedback.simulated import (
    STYLES,
    SimulatedDeskConfig,
    SimulatedTrader,
    StyleDesk,
    make_desk,
)

NAMES = ("return_1", "volatility_20", "trend_60", "trend_120", "reversal_5")
DRAWS = 4000


def approval(style: str, *, buy: bool = True, weight: float = 0.2, **features: float) -> float:
    """True p of changing a weight by 5%, in a portfolio of four; features are 0 but for these."""
    row = torch.tensor([[features.get(name, 0.0) for name in NAMES]] * 4)
    held = torch.tensor([weight - 0.05 if buy else weight + 0.05, 0.1, 0.1, 0.1])
    target = held.clone()
    target[0] = weight
    return float(StyleDesk.of(style, NAMES)(row, held, target)[0])


def test_a_trend_desk_buys_what_rises_and_sells_what_falls():
    assert approval("trend", trend_60=1.0) > 0.95 > 0.05 > approval("trend", trend_60=-1.0)
    assert approval("trend", buy=False, trend_60=-1.0) > 0.95
    assert approval("trend", trend_60=0.5, volatility_20=2.0) < approval("trend", trend_60=0.5)
    # The price of risk is asked of purchases only.
    risky = approval("trend", buy=False, volatility_20=2.0)
    assert risky == approval("trend", buy=False)


def test_a_reversal_desk_buys_what_fell():
    assert approval("reversal", reversal_5=-1.0) > 0.95
    assert approval("reversal", reversal_5=1.0) < 0.1
    assert approval("reversal", buy=False, reversal_5=1.0) > 0.95


def test_a_calm_desk_shuns_volatility():
    assert approval("calm", volatility_20=-1.0) > 0.8
    assert approval("calm", volatility_20=1.5) < 0.1
    assert approval("calm", buy=False, volatility_20=1.5) > 0.9
    assert approval("calm", trend_120=2.0) > approval("calm", trend_120=-2.0)


@pytest.mark.parametrize("style", STYLES)
def test_no_desk_likes_more_than_twice_the_equal_weight(style):
    assert approval(style, weight=0.9) < approval(style, weight=0.6) < approval(style, weight=0.5)
    assert approval(style, weight=0.5) == pytest.approx(approval(style, weight=0.3))


@pytest.mark.parametrize("style", STYLES)
def test_other_features_do_not_matter(style):
    assert approval(style, return_1=3.0) == approval(style)


def test_features_are_found_by_name():
    order = tuple(reversed(NAMES))
    values = torch.arange(5.0)
    held, target = torch.tensor([0.1]), torch.tensor([0.15])
    one = StyleDesk.of("trend", NAMES)(values[None], held, target)
    other = StyleDesk.of("trend", order)(values.flip(0)[None], held, target)
    assert torch.equal(one, other)
    with pytest.raises(ConfigError, match="features without volatility_20, trend_120"):
        StyleDesk.of("trend", ("trend_60", "reversal_5"))


def counted(trader: SimulatedTrader, p: float) -> dict[str, float]:
    generator = torch.Generator().manual_seed(1)
    given = [trader.verdict(p, generator) for _ in range(DRAWS)]
    return {kind: given.count(kind) / DRAWS for kind in ("approve", "reject", "cannot_tell")}


def trader(**flaws: float) -> SimulatedTrader:
    return make_desk(SimulatedDeskConfig(**flaws), NAMES)[1][0]


@pytest.mark.parametrize("p", [0.0, 0.2, 0.9, 1.0])
def test_mistakes_flip_their_share_of_answers(p):
    found = counted(trader(mistake=0.1), p)
    assert found["approve"] == pytest.approx(0.9 * p + 0.1 * (1 - p), abs=0.02)
    assert found["cannot_tell"] == 0.0


def test_without_flaws_the_sure_answer_is_always_given():
    assert counted(trader(mistake=0.0), 1.0)["approve"] == 1.0
    assert counted(trader(mistake=0.0), 0.0)["reject"] == 1.0


def test_skips_happen_where_the_desk_is_nearly_indifferent():
    one = trader(skip=0.3, indifference=0.05)
    found = counted(one, 0.52)
    assert found["cannot_tell"] == pytest.approx(0.3, abs=0.03)
    # What is not skipped is answered as ever.
    share = found["approve"] / (found["approve"] + found["reject"])
    assert share == pytest.approx(0.516, abs=0.03)
    assert counted(one, 0.56)["cannot_tell"] == 0.0
    assert counted(trader(skip=0.0), 0.5)["cannot_tell"] == 0.0


def test_a_spammer_answers_at_random_and_never_skips():
    _, traders = make_desk(SimulatedDeskConfig(traders=2, spammers=1, skip=1.0), NAMES)
    spammer = traders[-1]
    for p in (0.0, 0.5, 1.0):
        found = counted(spammer, p)
        assert found["approve"] == pytest.approx(0.5, abs=0.025)
        assert found["cannot_tell"] == 0.0


def test_the_stated_probability_is_the_one_counted():
    for one in (trader(mistake=0.2), make_desk(SimulatedDeskConfig(spammers=1), NAMES)[1][-1]):
        assert counted(one, 0.8)["approve"] == pytest.approx(one.approval(0.8), abs=0.025)


def test_every_reviewer_is_labelled_as_simulated():
    config = SimulatedDeskConfig(style="calm", traders=3, spammers=2)
    desk, traders = make_desk(config, NAMES)
    names = [one.name for one in traders]
    assert len(set(names)) == 5
    assert all(name.startswith("simulated-") for name in names)
    assert [one.desk for one in traders] == [desk, desk, desk, None, None]


def test_the_same_seed_answers_alike():
    def answers(seed: int) -> list[str]:
        generator = torch.Generator().manual_seed(seed)
        return [trader().verdict(0.5, generator) for _ in range(40)]

    assert answers(1) == answers(1)
    assert answers(1) != answers(2)


@pytest.mark.parametrize("bad", [{"mistake": 0.6}, {"style": "momentum"}, {"traders": 0}])
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(ValidationError):
        SimulatedDeskConfig(**bad)
