"""Measure how predictions of a run approach its end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdcli.numerics.metrics import Array, as_float64, cosine


def length(array: Array) -> float:
    """Return the Euclidean length of an array as a vector."""
    return float(np.linalg.norm(as_float64(array)))


def distance(a: Array, b: Array) -> float:
    """Return the Euclidean distance of two arrays as points."""
    return float(np.linalg.norm(as_float64(a) - as_float64(b)))


def step_lengths(points: Sequence[Array]) -> list[float]:
    """Return the distance of each point from the one before."""
    return [distance(a, b) for a, b in pairwise(points)]


def centred(latents: Array) -> NDArray[np.float64]:
    """Return latents (channels, height, width) without the mean of each channel."""
    array = as_float64(latents)
    without: NDArray[np.float64] = array - array.mean((1, 2), keepdims=True)
    return without


def similarity(latents: Array, end: Array, place: NDArray[np.bool_] | None = None) -> float:
    """Return the cosine between latents and the end, without the means of their channels.

    It is 1 for the same picture, whatever its brightness and contrast. With a `place`
    (height, width), only that part counts.
    """
    a, b = centred(latents), centred(end)
    return cosine(a, b) if place is None else cosine(a[:, place], b[:, place])


def contrast(latents: Array, end: Array) -> float:
    """Return the standard deviation within the channels of latents, as a part of the end's."""
    reference = float(centred(end).std())
    return float(centred(latents).std()) / reference if reference else 1.0


def first_lasting(values: Sequence[float], threshold: float) -> int | None:
    """Return the position, from 1, from which no value is below the threshold; None if the last is.

    >>> first_lasting([0.2, 0.95, 0.8, 0.93, 0.97], 0.9)
    4
    """
    below = [i for i, value in enumerate(values, 1) if value < threshold]
    last = below[-1] if below else 0
    return None if last == len(values) else last + 1


def shift_prediction(
    x0: Array, difference: Array, sigma: float, prediction_type: str
) -> NDArray[Any]:
    """Return the x_0 of a UNet output that differs by `difference` from the one of `x0`.

    x_0 is linear in the output: its factor is -sigma for epsilon, -sigma / √(1 + sigma²) for
    v-prediction and 1 for a UNet that predicts x_0 itself.
    """
    match prediction_type:
        case "sample":
            factor = 1.0
        case "epsilon":
            factor = -sigma
        case _:
            factor = -1.0 if math.isinf(sigma) else -sigma / math.sqrt(1 + sigma * sigma)
    shifted: NDArray[Any] = as_float64(x0) + factor * as_float64(difference)
    return shifted


def place_of(heat: NDArray[Any], height: int, width: int) -> NDArray[np.bool_]:
    """Return where a map is at least half of its maximum, as (height, width) of the latents."""
    rows = (np.arange(height) * heat.shape[0]) // height
    columns = (np.arange(width) * heat.shape[1]) // width
    larger = heat[np.ix_(rows, columns)]
    inside: NDArray[np.bool_] = larger >= 0.5 * larger.max()
    return inside
