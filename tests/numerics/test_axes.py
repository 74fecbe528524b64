"""Test the round values of axes."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdcli.numerics.axes import nice_levels

values = st.floats(-1e6, 1e6)


@given(values, values)
def test_levels_enclose_all_values_evenly(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    levels = nice_levels(low, high)
    assert 2 <= len(levels) <= 8
    step = levels[1] - levels[0]
    assert levels[0] <= low + step * 1e-3 + 1e-6
    assert levels[-1] >= high - step * 1e-3 - 1e-6
    assert all(math.isclose(y - x, step, rel_tol=1e-6) for x, y in pairwise(levels))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(3, 47, (0, 10, 20, 30, 40, 50)), (0, 1, (0, 0.2, 0.4, 0.6, 0.8, 1.0)), (5, 5, (5, 6))],
)
def test_levels_are_round(low: float, high: float, expected: tuple[float, ...]) -> None:
    assert nice_levels(low, high) == pytest.approx(expected)
