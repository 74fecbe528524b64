"""Measure how similar two images or two tensors are."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

_WINDOW_SIGMA: Final = 1.5
_WINDOW_RADIUS: Final = 5
_LUMA: Final = (0.299, 0.587, 0.114)
"""Weights of red, green and blue (ITU-R BT.601)."""


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Return the peak signal-to-noise ratio of two images (height, width, 3) in dB.

    It is infinite for identical images. Raises ValueError when their shapes differ.
    """
    _check_shapes(a, b)
    error = float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def ssim(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Return the structural similarity of two images' luma, from -1 to 1 for identical images.

    Wang, Bovik, Sheikh and Simoncelli 2004: Gaussian windows of 11 x 11 pixels with sigma 1.5,
    without those that cross the border. Raises ValueError when the shapes differ, or are smaller
    than a window.
    """
    _check_shapes(a, b)
    if min(a.shape[:2]) < 2 * _WINDOW_RADIUS + 1:
        raise ValueError("an image below 11 x 11 pixels has no window")
    x, y = a @ np.array(_LUMA), b @ np.array(_LUMA)
    mean_x, mean_y = _window_means(x), _window_means(y)
    variance_x = _window_means(x * x) - mean_x**2
    variance_y = _window_means(y * y) - mean_y**2
    covariance = _window_means(x * y) - mean_x * mean_y
    # The paper's constants K1 and K2, which keep the quotient finite for flat windows.
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    numerator = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    denominator = (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    return float(np.mean(numerator / denominator))


def rmse(a: Array, b: Array) -> float:
    """Return the root mean square error of two arrays."""
    return float(np.sqrt(np.mean((as_float64(a) - as_float64(b)) ** 2)))


def cosine(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Return the cosine of the angle between two arrays as vectors.

    It is 1 for equal arrays, also for zeros, and 0 when only one of them is zero.
    """
    first, second = as_float64(a).ravel(), as_float64(b).ravel()
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    # Rounding would make the cosine of equal arrays almost 1, and their angle not quite 0.
    if lengths == 0 or np.array_equal(first, second):
        return 1.0 if np.array_equal(first, second) else 0.0
    return float(np.clip(first @ second / lengths, -1, 1))


def as_float64(array: Any) -> NDArray[np.float64]:
    """Convert an array to double precision, so that sums over many values stay exact enough."""
    return np.asarray(array, np.float64)


def _check_shapes(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> None:
    if a.shape != b.shape:
        raise ValueError(f"images of {a.shape} and {b.shape} cannot be compared")


def _window_means(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gaussian-weighted means of all windows inside a plane: (height - 10, width - 10)."""
    offsets = np.arange(-_WINDOW_RADIUS, _WINDOW_RADIUS + 1)
    weights = np.exp(-(offsets**2) / (2 * _WINDOW_SIGMA**2))
    weights /= weights.sum()
    # The Gaussian is separable: first along the columns, then along the rows.
    rows = np.lib.stride_tricks.sliding_window_view(plane, len(weights), axis=0) @ weights
    means: NDArray[np.float64] = (
        np.lib.stride_tricks.sliding_window_view(rows, len(weights), axis=1) @ weights
    )
    return means
