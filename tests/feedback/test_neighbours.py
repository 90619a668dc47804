import pytest

from trading_rlhf.feedback import nearest


@pytest.fixture
def reviewed(proposal):
    def make(*features, **changes):
        number = len(made)
        made.append((proposal(number, id=f"r{number}", features=features, **changes), number))
        return made[-1]

    made = []
    make.all = made
    return make


def test_the_nearest_come_first(proposal, reviewed):
    for x in (0.0, 1.0, 2.0, 3.0):
        reviewed(x, 0.0)
    found = nearest(proposal(50, features=(2.2, 0.0)), reviewed.all, k=2)
    assert [one.answer for one in found] == [2, 3]
    assert found[0].proposal == reviewed.all[2][0]
    assert found[0].distance < found[1].distance


def test_a_unit_changes_nothing(proposal, reviewed):
    for x, y in ((0, 300), (1, 100), (2, 200), (3, 400)):
        reviewed(x, y)
    asked = proposal(50, features=(0.9, 310))
    once = [(n.answer, pytest.approx(n.distance)) for n in nearest(asked, reviewed.all)]
    scaled = [
        (proposal(0, id=p.id, features=(p.features[0] * 1000, p.features[1])), answer)
        for p, answer in reviewed.all
    ]
    asked = proposal(50, features=(900, 310))
    assert [(n.answer, n.distance) for n in nearest(asked, scaled)] == once


def test_the_side_counts(proposal, reviewed):
    reviewed(0.0, 0.0, held=0.3, target=0.1)
    reviewed(0.4, 0.4)
    reviewed(2.0, 2.0)
    asked = proposal(50, features=(0.0, 0.0))
    assert [n.answer for n in nearest(asked, reviewed.all)] == [1, 0, 2]


def test_what_cannot_be_compared_is_left_out(proposal, reviewed):
    reviewed(1.0, 1.0)
    reviewed(1.0, 1.0, feature_names=("other", "names"))
    itself = reviewed(1.0, 1.0)[0]
    assert [n.answer for n in nearest(itself, reviewed.all)] == [0]
    assert nearest(itself, []) == []
    assert nearest(itself, reviewed.all, k=0) == []


def test_a_feature_that_never_changes_is_no_trouble(proposal, reviewed):
    reviewed(1.0, 5.0)
    reviewed(2.0, 5.0)
    found = nearest(proposal(50, features=(2.0, 5.0)), reviewed.all)
    assert [(n.answer, n.distance) for n in found] == [(1, 0.0), (0, pytest.approx(2 / 3**0.5))]
