"""Missing numbers are filled from the past alone."""

import numpy as np

from trading_rlhf.market import carry_forward


def test_a_gap_repeats_the_last_number_of_its_column() -> None:
    nan = np.nan
    values = np.array([[nan, 1.0, nan], [2.0, nan, nan], [nan, np.inf, nan], [3.0, 4.0, nan]])
    filled = carry_forward(values)
    expected = np.array([[nan, 1.0, nan], [2.0, 1.0, nan], [2.0, 1.0, nan], [3.0, 4.0, nan]])
    np.testing.assert_array_equal(filled, expected)
    assert np.isnan(values[2, 0])


def test_values_without_a_gap_come_back_as_they_are() -> None:
    values = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert carry_forward(values) is values
    empty = np.empty((0, 2))
    assert carry_forward(empty) is empty
