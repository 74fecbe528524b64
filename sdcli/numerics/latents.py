"""Arithmetic on latents: how far, how straight, in between, and a quick look. numpy, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def rmse(a: Array, b: Array) -> float:
    """Root of the mean squared difference."""
    return float(np.sqrt(np.mean((_as_float64(a) - _as_float64(b)) ** 2)))


def cosine(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Cosine of the angle between two arrays seen as vectors; 1 for equal ones, also for zeros."""
    first, second = _as_float64(a).ravel(), _as_float64(b).ravel()
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    if lengths == 0 or np.array_equal(first, second):
        return 1.0 if np.array_equal(first, second) else 0.0
    return float(np.clip(first @ second / lengths, -1, 1))


def angles(points: Sequence[Array]) -> list[float]:
    """Degrees between successive legs of a way through the points: 0 is straight on."""
    legs = [_as_float64(b) - _as_float64(a) for a, b in pairwise(points)]
    pairs = pairwise(legs)
    return [float(np.degrees(np.arccos(cosine(a, b)))) for a, b in pairs]


def straightness(points: Sequence[Array]) -> float:
    """The straight distance over the length of the way: 1 is straight."""
    legs = [rmse(a, b) for a, b in pairwise(points)]
    return rmse(points[0], points[-1]) / sum(legs) if sum(legs) else 1.0


def interpolate(a: Array, b: Array, part: float, *, spherical: bool) -> Array:
    """`part` of the way from a to b: along the line, or along the arc.

    The arc (Shoemake 1985) keeps the length, which noise needs; nearly parallel vectors take the
    line.
    """
    if not spherical:
        return ((1 - part) * a + part * b).astype(np.float32)
    angle = np.arccos(cosine(a, b))
    if np.sin(angle) < 1e-4:
        return interpolate(a, b, part, spherical=False)
    mixed = (
        np.sin((1 - part) * angle) * _as_float64(a) + np.sin(part * angle) * _as_float64(b)
    ) / np.sin(angle)
    arc: Array = mixed.astype(np.float32)
    return arc


def latents_to_rgb(
    latents: Array, factors: Sequence[Sequence[float]], scale: int
) -> NDArray[np.uint8]:
    """Pixels (height, width, 3) of latents (channels, height/8, width/8) by a linear map.

    `factors` has a row of RGB a channel and one for the constant, for pixels of -1 to 1. Each
    latent becomes a square of `scale` pixels.
    """
    table = np.asarray(factors, np.float32)  # (channels + 1, 3)
    rgb = np.einsum("chw,cr->hwr", latents.astype(np.float32), table[:-1]) + table[-1]
    pixels = np.clip((rgb + 1) * 127.5, 0, 255).round().astype(np.uint8)
    larger: NDArray[np.uint8] = pixels.repeat(scale, axis=0).repeat(scale, axis=1)
    return larger


def fit_latent_rgb_factors(latents: Array, pixels: Array) -> list[list[float]]:
    """The factors for `preview` by least squares, rounded to four places.

    `latents` are (images, channels, h, w), `pixels` (images, 3, h, w) from -1 to 1, brought down
    to the latents' size.
    """
    flat = np.moveaxis(latents, 1, -1).reshape(-1, latents.shape[1])
    columns = np.concatenate([flat, np.ones((len(flat), 1), flat.dtype)], axis=1)
    wanted = np.moveaxis(pixels, 1, -1).reshape(-1, 3)
    solution, *_ = np.linalg.lstsq(columns.astype(np.float64), wanted.astype(np.float64))
    return [[round(float(value), 4) for value in row] for row in solution]


def _as_float64(array: Any) -> NDArray[np.float64]:
    return np.asarray(array, np.float64)
