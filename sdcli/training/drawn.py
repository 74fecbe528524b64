"""How well drawn: the best match of a picture with any rendering of the thing it should show."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from sdcli.training.backgrounds import SIZE
from sdcli.training.sprites import Sprites

SIZES = range(64, 113, 4)
SHIFTS = range(-12, 13, 4)


def _error(
    picture: NDArray[np.float32],
    ground: NDArray[np.float32],
    sprites: Sprites,
    name: str,
    size: int,
    down: int,
    right: int,
) -> float:
    """Mean square error against ``name``, moved from the middle; infinite where it sticks out."""
    sprite = sprites(name, size)
    height, width = sprite.shape[:2]
    top, left = (SIZE - height) // 2 + down, (SIZE - width) // 2 + right
    if top < 0 or left < 0 or top + height > SIZE or left + width > SIZE:
        return np.inf
    drawn = np.broadcast_to(ground, picture.shape).copy()
    region = drawn[top : top + height, left : left + width]
    region *= 1 - sprite[..., 3:]
    region += sprite[..., :3]
    return float(np.square(drawn - picture).mean())


def best_psnr(levels: NDArray[np.uint8], name: str, sprites: Sprites) -> float:
    """Peak signal-to-noise ratio in dB against the best rendering of ``name`` on a plain ground.

    Sizes 64–112 px and shifts up to 12 px in steps of 4, then every pixel around the best. The
    ground is the median of the picture's border.
    """
    picture = levels.astype(np.float32) / np.float32(255)
    border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    ground: NDArray[np.float32] = np.median(border, axis=0).astype(np.float32)

    def search(candidates: Iterable[tuple[int, int, int]]) -> tuple[float, tuple[int, int, int]]:
        return min((_error(picture, ground, sprites, name, *c), c) for c in candidates)

    _, (size, down, right) = search((s, y, x) for s in SIZES for y in SHIFTS for x in SHIFTS)
    near = range(-3, 4)
    error, _ = search(
        (size + s, down + y, right + x) for s in range(-3, 4) for y in near for x in near
    )
    return float(-10 * np.log10(max(error, 1e-10)))
