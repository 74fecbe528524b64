"""How like two pictures are."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_SIGMA: Final = 1.5
_REACH: Final = 5
_LUMA: Final = (0.299, 0.587, 0.114)


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio in dB of two pictures (height, width, 3); inf when equal.

    Raises ValueError when their shapes differ.
    """
    _check(a, b)
    error = float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def ssim(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Structural similarity of two pictures' luma, 1 when equal.

    Wang, Bovik, Sheikh and Simoncelli 2004: Gaussian windows of 11 x 11 with sigma 1.5, only those
    that lie wholly inside. Raises ValueError when the shapes differ or are below 11 x 11.
    """
    _check(a, b)
    if min(a.shape[:2]) < 2 * _REACH + 1:
        raise ValueError("a picture below 11 x 11 has no window")
    x, y = a @ np.array(_LUMA), b @ np.array(_LUMA)
    mean_x, mean_y = _blurred(x), _blurred(y)
    var_x = _blurred(x * x) - mean_x**2
    var_y = _blurred(y * y) - mean_y**2
    both = _blurred(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    above = (2 * mean_x * mean_y + c1) * (2 * both + c2)
    below = (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    return float(np.mean(above / below))


def _check(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> None:
    if a.shape != b.shape:
        raise ValueError(f"pictures of {a.shape} and {b.shape} cannot be compared")


def _blurred(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted means of all whole windows: (height - 10, width - 10)."""
    offsets = np.arange(-_REACH, _REACH + 1)
    weights = np.exp(-(offsets**2) / (2 * _SIGMA**2))
    weights /= weights.sum()
    rows = np.lib.stride_tricks.sliding_window_view(plane, len(weights), axis=0) @ weights
    result: NDArray[np.float64] = (
        np.lib.stride_tricks.sliding_window_view(rows, len(weights), axis=1) @ weights
    )
    return result


Array = NDArray[np.float32]


def rmse(a: Array, b: Array) -> float:
    """Root of the mean squared difference."""
    return float(np.sqrt(np.mean((as_float64(a) - as_float64(b)) ** 2)))


def cosine(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Cosine of the angle between two arrays seen as vectors; 1 for equal ones, also for zeros."""
    first, second = as_float64(a).ravel(), as_float64(b).ravel()
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    if lengths == 0 or np.array_equal(first, second):
        return 1.0 if np.array_equal(first, second) else 0.0
    return float(np.clip(first @ second / lengths, -1, 1))


def as_float64(array: Any) -> NDArray[np.float64]:
    return np.asarray(array, np.float64)
