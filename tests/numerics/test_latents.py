"""Test distances, angles and interpolation of latents by their geometry."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sdcli.numerics.latents import angles, interpolate, straightness
from sdcli.numerics.metrics import as_float64, cosine, rmse

VECTORS = arrays(np.float32, (2, 3), elements=st.floats(-100, 100, width=32))
FRACTIONS = st.floats(0, 1)


@given(VECTORS, VECTORS)
def test_rmse_is_a_distance(a: np.ndarray, b: np.ndarray) -> None:
    assert rmse(a, a) == 0
    assert rmse(a, b) == rmse(b, a)
    assert (rmse(a, b) == 0) == np.array_equal(a, b)


@given(VECTORS, VECTORS)
def test_cosine_is_symmetric_bounded_and_one_for_equal_arrays(a: np.ndarray, b: np.ndarray) -> None:
    assert cosine(a, a) == 1
    assert -1 <= cosine(a, b) <= 1
    assert cosine(a, b) == pytest.approx(cosine(b, a))


def test_zeros_have_no_direction() -> None:
    zeros, ones = np.zeros(3), np.ones(3)
    assert cosine(zeros, zeros) == 1
    assert cosine(zeros, ones) == 0


@pytest.mark.parametrize("degrees", [0, 45, 90, 135, 180])
def test_angles_are_those_between_segments(degrees: int) -> None:
    turn = math.radians(degrees)
    corner = np.array([1.0, 0.0])
    points = [np.zeros(2), corner, corner + np.array([math.cos(turn), math.sin(turn)])]
    assert angles(points) == [pytest.approx(degrees, abs=1e-4)]


def test_a_path_is_straight_by_its_length() -> None:
    line = [np.full(4, value) for value in (0.0, 1.0, 5.0)]
    assert straightness(line) == pytest.approx(1)
    assert straightness([line[0], line[2], line[1]]) == pytest.approx(1 / 9)
    assert straightness([line[0], line[0]]) == 1


@given(VECTORS, VECTORS, st.booleans())
def test_interpolation_ends_at_both_arrays(a: np.ndarray, b: np.ndarray, spherical: bool) -> None:
    for fraction, end in ((0, a), (1, b)):
        result = interpolate(a, b, fraction, spherical=spherical)
        assert result.dtype == np.float32
        assert np.allclose(result, end, atol=1e-3)


@given(st.floats(0.01, math.pi - 0.01), FRACTIONS)
def test_slerp_stays_on_the_circle(angle: float, fraction: float) -> None:
    a, b = np.array([1.0, 0.0]), np.array([math.cos(angle), math.sin(angle)])
    result = as_float64(interpolate(a, b, fraction, spherical=True))
    expected = [math.cos(fraction * angle), math.sin(fraction * angle)]
    assert np.allclose(result, expected, atol=1e-5)


@given(VECTORS, FRACTIONS)
def test_slerp_of_parallel_vectors_is_linear(a: np.ndarray, fraction: float) -> None:
    spherical = interpolate(a, 2 * a, fraction, spherical=True)
    assert np.allclose(spherical, (1 + fraction) * a, rtol=1e-4, atol=1e-4)
