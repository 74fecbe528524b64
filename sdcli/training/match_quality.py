"""Measure how well an object is drawn, by its best match with a rendering of that object."""

import numpy as np
from numpy.typing import NDArray

from sdcli.training.backgrounds import SIZE
from sdcli.training.sprites import Sprites

SIZES = range(61, 116)
MAX_OFFSET = 18  # pixels from the center

Pixels = NDArray[np.float32]  # (128, 128, 3), 0 to 1


def placement_errors(image: Pixels, background: Pixels, sprite: Pixels) -> NDArray[np.float64]:
    """Return the mean square errors (128, 128) of ``sprite`` at each position of its corner.

    Let d = background - image, and q what the sprite (premultiplied RGBA) adds to the background.
    The error is the mean of (d + q)² = d² + q² + 2dq, where the last term is a correlation that one
    Fourier transform computes for all positions.
    """
    d = background - image
    height, width = sprite.shape[:2]
    q = np.zeros((SIZE, SIZE, 3), np.float32)
    q[:height, :width] = sprite[..., :3] - background * sprite[..., 3:]
    correlation = np.fft.irfft2(
        np.fft.rfft2(d, axes=(0, 1)) * np.fft.rfft2(q, axes=(0, 1)).conj(), (SIZE, SIZE), (0, 1)
    ).sum(-1)
    total = np.square(d).sum() + np.square(q).sum() + 2 * correlation
    errors: NDArray[np.float64] = total / image.size
    return errors


def _central_positions(free: int) -> slice:
    """Return the positions of a corner near the center that leave the object inside the image."""
    return slice(max(0, free // 2 - MAX_OFFSET), min(free, free // 2 + MAX_OFFSET) + 1)


def best_psnr(levels: NDArray[np.uint8], name: str, sprites: Sprites) -> float:
    """Return the PSNR in dB of an image (128, 128, 3) to the best rendering of ``name``.

    Tries all sizes from 61 to 115 pixels, and all positions within 18 pixels of the center, on the
    median color of the image's border.
    """
    image = levels.astype(np.float32) / np.float32(255)
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    background: Pixels = np.median(border, axis=0).astype(np.float32)

    def smallest_error(sprite: Pixels) -> float:
        rows, columns = (_central_positions(SIZE - side) for side in sprite.shape[:2])
        return float(placement_errors(image, background, sprite)[rows, columns].min())

    error = min(smallest_error(sprites(name, size)) for size in SIZES)
    return float(-10 * np.log10(max(error, 1e-10)))
