"""Arithmetic on latents: how far, how straight, in between, and a quick look. numpy, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from sdcli.numerics.metrics import Array, as_float64, cosine, rmse


def angles(points: Sequence[Array]) -> list[float]:
    """Degrees between successive legs of a way through the points: 0 is straight on."""
    legs = [as_float64(b) - as_float64(a) for a, b in pairwise(points)]
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
        np.sin((1 - part) * angle) * as_float64(a) + np.sin(part * angle) * as_float64(b)
    ) / np.sin(angle)
    arc: Array = mixed.astype(np.float32)
    return arc
