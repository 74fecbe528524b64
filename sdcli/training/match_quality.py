"""How well drawn: the best match of a picture with any rendering of the thing it should show."""

import numpy as np
from numpy.typing import NDArray

from sdcli.training.backgrounds import SIZE
from sdcli.training.sprites import Sprites

SIZES = range(61, 116)
FARTHEST = 18  # pixels from the middle

Pixels = NDArray[np.float32]  # (128, 128, 3), 0…1


def errors(picture: Pixels, ground: Pixels, sprite: Pixels) -> NDArray[np.float64]:
    """Mean square errors (128, 128) against ``sprite`` on ``ground``, by where its corner lies.

    With d = ground − picture, and q what the sprite (premultiplied RGBA) adds to the ground, the
    error is the mean of (d + q)² = d² + q² + 2dq: a correlation, for all places at once.
    """
    d = ground - picture
    height, width = sprite.shape[:2]
    q = np.zeros((SIZE, SIZE, 3), np.float32)
    q[:height, :width] = sprite[..., :3] - ground * sprite[..., 3:]
    correlation = np.fft.irfft2(
        np.fft.rfft2(d, axes=(0, 1)) * np.fft.rfft2(q, axes=(0, 1)).conj(), (SIZE, SIZE), (0, 1)
    ).sum(-1)
    total = np.square(d).sum() + np.square(q).sum() + 2 * correlation
    found: NDArray[np.float64] = total / picture.size
    return found


def _near_the_middle(free: int) -> slice:
    """Corners at most ``FARTHEST`` off the middle that leave the thing inside."""
    return slice(max(0, free // 2 - FARTHEST), min(free, free // 2 + FARTHEST) + 1)


def best_psnr(levels: NDArray[np.uint8], name: str, sprites: Sprites) -> float:
    """Peak signal-to-noise ratio in dB against the best rendering of ``name`` on a plain ground.

    Every size from 61 to 115 px and every place within 18 px of the middle. The ground is the
    median of the picture's border.
    """
    picture = levels.astype(np.float32) / np.float32(255)
    border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    ground: Pixels = np.median(border, axis=0).astype(np.float32)

    def best(sprite: Pixels) -> float:
        rows, columns = (_near_the_middle(SIZE - side) for side in sprite.shape[:2])
        return float(errors(picture, ground, sprite)[rows, columns].min())

    error = min(best(sprites(name, size)) for size in SIZES)
    return float(-10 * np.log10(max(error, 1e-10)))
