"""Measure single images: how sharp and how colorful they are."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

_LUMA: Final = (0.299, 0.587, 0.114)
"""Weights of red, green and blue (ITU-R BT.601)."""


def sharpness(pixels: NDArray[np.uint8]) -> float:
    """Return the variance of the Laplacian of an image's luma, 0 for a plain color.

    A usual measure of focus (Pech-Pacheco et al. 2000). It depends on the content and grows with
    the contrast, so it compares images of the same thing. The image has at least 3 x 3 pixels;
    smaller ones have no sharpness, 0.
    """
    if min(pixels.shape[:2]) < 3:
        return 0.0
    luma = pixels @ np.array(_LUMA)
    neighbors = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:]
    return float(np.var(neighbors - 4 * luma[1:-1, 1:-1]))


def saturation(pixels: NDArray[np.uint8]) -> float:
    """Return the mean saturation (HSV) of an image's pixels, 0 for gray to 1."""
    largest = pixels.max(axis=-1).astype(np.float64)
    spread = largest - pixels.min(axis=-1)
    return float(np.mean(spread / np.maximum(largest, 1)))
