"""Measure and interpolate latents with NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from sdcli.numerics.metrics import Array, as_float64, cosine, rmse

_MIN_SINE: Final = 1e-4


def angles(points: Sequence[Array]) -> list[float]:
    """Return the angles in degrees between successive segments of a path; 0 is straight on."""
    segments = [as_float64(b) - as_float64(a) for a, b in pairwise(points)]
    return [float(np.degrees(np.arccos(cosine(a, b)))) for a, b in pairwise(segments)]


def straightness(points: Sequence[Array]) -> float:
    """Return the distance between the ends of a path over its length; 1 is a straight line."""
    lengths = [rmse(a, b) for a, b in pairwise(points)]
    return rmse(points[0], points[-1]) / sum(lengths) if sum(lengths) else 1.0


def interpolate(a: Array, b: Array, fraction: float, *, spherical: bool) -> Array:
    """Interpolate between a (`fraction` 0) and b (1), linearly or spherically.

    Spherical interpolation (slerp; Shoemake 1985) keeps the length of the vectors, as noise needs.
    Nearly parallel vectors are interpolated linearly.
    """
    if not spherical:
        return ((1 - fraction) * a + fraction * b).astype(np.float32)
    angle = np.arccos(cosine(a, b))
    # Dividing by a tiny sine would amplify rounding errors.
    if np.sin(angle) < _MIN_SINE:
        return interpolate(a, b, fraction, spherical=False)
    weight_a, weight_b = np.sin((1 - fraction) * angle), np.sin(fraction * angle)
    blended: Array = ((weight_a * as_float64(a) + weight_b * as_float64(b)) / np.sin(angle)).astype(
        np.float32
    )
    return blended
