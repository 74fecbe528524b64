"""Draw the backgrounds: plain colors and four small landscapes."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sdcli.training.concepts import COLORS

SIZE = 128
_SCALE = 4  # landscapes are drawn four times larger and reduced, for smooth edges
Pixels = NDArray[np.float32]  # (128, 128, 3), 0 to 1


def _polygon(draw: ImageDraw.ImageDraw, points: list[tuple[float, float]], fill: str) -> None:
    draw.polygon([(x * _SCALE, y * _SCALE) for x, y in points], fill=fill)


def _disk(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, fill: str) -> None:
    box = [
        (x - radius) * _SCALE,
        (y - radius) * _SCALE,
        (x + radius) * _SCALE,
        (y + radius) * _SCALE,
    ]
    draw.ellipse(box, fill=fill)


def _mountain(draw: ImageDraw.ImageDraw) -> None:
    _polygon(draw, [(0, 0), (128, 0), (128, 128), (0, 128)], "#a9d8f2")
    for left, peak, right, top in ((-30, 22, 80, 30), (40, 100, 170, 14)):
        _polygon(draw, [(left, 112), (peak, top), (right, 112)], "#6d7f99")
        snow = (112 - top) * 0.32
        slope_left, slope_right = (peak - left) / (112 - top), (right - peak) / (112 - top)
        foot = top + snow
        _polygon(
            draw,
            [
                (peak, top),
                (peak + snow * slope_right, foot),
                (peak + 4, foot - 7),
                (peak - 5, foot + 2),
                (peak - snow * slope_left, foot),
            ],
            "#ffffff",
        )
    _polygon(draw, [(0, 104), (128, 104), (128, 128), (0, 128)], "#5aa864")


def _snow(draw: ImageDraw.ImageDraw) -> None:
    _polygon(draw, [(0, 0), (128, 0), (128, 128), (0, 128)], "#b7c9e6")
    for x, y in (
        (10, 12),
        (34, 30),
        (58, 8),
        (84, 24),
        (112, 10),
        (20, 56),
        (6, 84),
        (106, 48),
        (122, 72),
        (72, 46),
    ):
        _disk(draw, x, y, 3, "#ffffff")
    box = [-40 * _SCALE, 92 * _SCALE, 168 * _SCALE, 190 * _SCALE]
    draw.ellipse(box, fill="#f4f8ff")


def _beach(draw: ImageDraw.ImageDraw) -> None:
    _polygon(draw, [(0, 0), (128, 0), (128, 128), (0, 128)], "#bfe8fb")
    _polygon(draw, [(0, 52), (128, 52), (128, 100), (0, 100)], "#2f9fd0")
    box = [-60 * _SCALE, 82 * _SCALE, 220 * _SCALE, 240 * _SCALE]
    draw.ellipse([box[0], box[1] - 12, box[2], box[3]], fill="#e9f8fc")
    draw.ellipse(box, fill="#f0d79a")


def _night_sky(draw: ImageDraw.ImageDraw) -> None:
    _polygon(draw, [(0, 0), (128, 0), (128, 128), (0, 128)], "#1b2450")
    stars = (
        (8, 10, 2),
        (30, 22, 1.5),
        (52, 6, 2),
        (78, 14, 1.5),
        (104, 8, 2),
        (120, 30, 1.5),
        (6, 48, 1.5),
        (16, 82, 2),
        (4, 112, 1.5),
        (36, 120, 2),
        (66, 112, 1.5),
        (96, 121, 2),
        (122, 104, 1.5),
        (114, 64, 2),
    )
    for x, y, radius in stars:
        _disk(draw, x, y, radius, "#fff4c2")


_LANDSCAPES = {"mountain": _mountain, "snow": _snow, "beach": _beach, "night sky": _night_sky}


@cache
def _landscape(name: str, flipped: bool) -> Pixels:
    image = Image.new("RGB", (SIZE * _SCALE, SIZE * _SCALE))
    _LANDSCAPES[name](ImageDraw.Draw(image))
    pixels: Pixels = np.asarray(
        image.resize((SIZE, SIZE), Image.Resampling.BOX), np.float32
    ) / np.float32(255)
    return np.ascontiguousarray(pixels[:, ::-1]) if flipped else pixels


def paint_background(
    name: str, *, flipped: bool = False, shade: tuple[int, int, int] = (0, 0, 0)
) -> Pixels:
    """Return a new image (128, 128, 3) of the background, in 0 to 1.

    ``flipped`` mirrors a landscape. ``shade`` is added to a plain color, in levels of 255.
    """
    if name in _LANDSCAPES:
        return _landscape(name, flipped).copy()  # callers draw on the result
    color = (np.asarray(COLORS[name], np.float32) + np.asarray(shade, np.float32)) / np.float32(255)
    return np.broadcast_to(color.clip(0, 1), (SIZE, SIZE, 3)).copy()
