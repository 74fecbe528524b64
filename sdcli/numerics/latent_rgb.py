"""Approximate images linearly from latents, without a VAE."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sdcli.numerics.metrics import Array


def latents_to_rgb(
    latents: Array, factors: Sequence[Sequence[float]], scale: int
) -> NDArray[np.uint8]:
    """Convert latents (channels, h, w) to pixels (h * scale, w * scale, 3) by a linear map.

    `factors` has a row of RGB for each channel and one for the constant, for pixels from -1 to 1.
    Each latent becomes a square of `scale` pixels.
    """
    table = np.asarray(factors, np.float32)  # (channels + 1, 3)
    rgb = np.einsum("chw,cr->hwr", latents.astype(np.float32), table[:-1]) + table[-1]
    pixels = np.clip((rgb + 1) * 127.5, 0, 255).round().astype(np.uint8)
    enlarged: NDArray[np.uint8] = pixels.repeat(scale, axis=0).repeat(scale, axis=1)
    return enlarged


def fit_latent_rgb_factors(latents: Array, pixels: Array) -> list[list[float]]:
    """Fit the factors of `latents_to_rgb` by least squares, rounded to four places.

    `latents` are (images, channels, h, w) and `pixels` (images, 3, h, w) from -1 to 1, already
    reduced to the latents' size.
    """
    inputs = np.moveaxis(latents, 1, -1).reshape(-1, latents.shape[1])
    # A column of ones fits the constant.
    inputs = np.concatenate([inputs, np.ones((len(inputs), 1), inputs.dtype)], axis=1)
    targets = np.moveaxis(pixels, 1, -1).reshape(-1, 3)
    solution, *_ = np.linalg.lstsq(inputs.astype(np.float64), targets.astype(np.float64))
    return [[round(float(value), 4) for value in row] for row in solution]
