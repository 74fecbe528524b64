"""Predictions and their distance to the end, in cases that can be seen."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sdcli.engine.schedulers.noise_levels import pred_original_sample
from sdcli.numerics.plot_layout import Box, lay_out, log_levels
from sdcli.numerics.prediction import (
    contrast,
    first_lasting,
    place_of,
    shift_prediction,
    similarity,
    step_lengths,
)

RNG = np.random.default_rng(0)


def latents() -> np.ndarray:
    return RNG.standard_normal((4, 8, 8)).astype(np.float32)


def test_similarity_ignores_brightness_and_contrast() -> None:
    end = latents()
    shifted = 3 * end + np.array([1, -2, 0, 5], np.float32)[:, None, None]
    assert similarity(shifted, end) == pytest.approx(1)
    assert similarity(-end, end) == pytest.approx(-1)
    assert abs(similarity(latents(), end)) < 0.3
    assert contrast(shifted, end) == pytest.approx(3, rel=1e-5)
    assert contrast(end, np.zeros_like(end)) == 1


def test_similarity_within_a_place_sees_only_the_place() -> None:
    end, other = latents(), latents()
    other -= other.mean((1, 2), keepdims=True)
    other[:, :4] = (end - end.mean((1, 2), keepdims=True))[:, :4]
    other -= other.mean((1, 2), keepdims=True)
    inside = np.zeros((8, 8), bool)
    inside[:4] = True
    assert similarity(other, end, inside) > 0.9 > similarity(other, end, ~inside)


@pytest.mark.parametrize(
    ("values", "step"),
    [((0.95, 0.99), 1), ((0.2, 0.95, 0.8, 0.93, 0.97), 4), ((0.95, 0.5), None), ((0.9,), 1)],
)
def test_what_leaves_again_has_not_arrived(values: tuple[float, ...], step: int | None) -> None:
    assert first_lasting(values, 0.9) == step


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("sigma", [0.2, 1.0, 14.6, math.inf])
def test_a_shifted_prediction_is_that_of_the_other_output(kind: str, sigma: float) -> None:
    if kind == "epsilon" and math.isinf(sigma):
        return
    given, first, second = (torch.from_numpy(latents()) for _ in range(3))
    x0, expected = (pred_original_sample(out, given, sigma, kind) for out in (first, second))
    shifted = shift_prediction(x0.numpy(), (second - first).numpy(), sigma, kind)
    assert np.allclose(shifted, expected.numpy(), rtol=1e-4, atol=1e-4)


def test_lengths_are_those_of_the_steps() -> None:
    points = [np.zeros(3, np.float32), np.array([3, 4, 0], np.float32), np.zeros(3, np.float32)]
    assert step_lengths(points) == [5, 5]


def test_a_place_is_as_large_as_the_latents() -> None:
    heat = np.zeros((2, 3))
    heat[1, 2], heat[0, 0] = 1, 0.4
    place = place_of(heat, 4, 9)
    assert place.shape == (4, 9)
    assert place[2:, 6:].all()
    assert place.sum() == 6


@pytest.mark.parametrize(
    ("low", "high"), [(0.2, 14.6), (0.029, 14.6), (1, 1), (3, 3.1), (1e-5, 1e3)]
)
def test_levels_surround_the_values(low: float, high: float) -> None:
    levels = log_levels(low, high)
    assert levels[0] <= low
    assert high <= levels[-1]
    assert 2 <= len(levels) <= 12
    assert list(levels) == sorted(set(levels))


@pytest.mark.parametrize("log", [True, False])
def test_lines_stay_within_their_box(log: bool) -> None:
    box = Box(left=10, top=5, right=90, bottom=45)
    lines = {"a": [(1, 0.5), (2, 3.0), (9, 20.0)], "b": [(4, 1.0)], "none": []}
    layout = lay_out(lines, box, log=log)
    points = [point for line in layout.lines.values() for point in line]
    assert all(10 <= x <= 90 and 5 - 1e-9 <= y <= 45 + 1e-9 for x, y in points)
    ys = [y for _, y in layout.lines["a"]]
    assert ys == sorted(ys, reverse=True)
    assert [label for _, label in layout.columns] == ["1", "9"]
