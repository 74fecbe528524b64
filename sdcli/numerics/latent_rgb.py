"""Linear approximation of images from latents."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sdcli.numerics.metrics import Array


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
