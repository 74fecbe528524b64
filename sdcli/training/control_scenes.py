"""Arrange scenes freely, and draw what a ControlNet of the embedded model is given of them.

The model places objects where its captions say, in few positions. A ControlNet must be able to put
them anywhere, so its scenes have objects anywhere, most of them on the grid of the latents.
"""

from dataclasses import replace

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sdcli.training.backgrounds import SIZE
from sdcli.training.scenes import (
    BIG,
    CELL,
    MARGIN,
    PAIR,
    SINGLE,
    SMALL,
    TRIPLE,
    Placement,
    Scene,
    corner,
)
from sdcli.training.sprites import Sprites

OFF_GRID_SHARE = 0.2
"""Share of objects off the grid and at any size, as people draw and photograph them."""

EXACT_SHARE, SHAPE_SHARE = 0.65, 0.2
"""Shares of maps that are silhouettes, and ellipses or boxes. The rest is inexact."""

_MOVED, _SCALED = 4, 0.08  # pixels, and share of the size
Levels = NDArray[np.uint8]
Mask = NDArray[np.float32]  # (128, 128), 0 to 1


def arrange_freely(rng: Generator, scene: Scene) -> Scene:
    """Return the scene with its objects anywhere, so that its captions stay true."""
    count = len(scene.placements)
    boxes = []
    for index, placement in enumerate(scene.placements):
        size = _size(rng, scene.layout)
        # Captions name objects from left to right, or from top to bottom.
        part = SIZE // count // CELL * CELL
        along = index * part + _edge(rng, max(0, part - size))
        along, across = min(along, SIZE - size), _edge(rng, SIZE - size)
        left, top = (across, along) if scene.layout == "column" else (along, across)
        box = replace(placement, left=left, top=top, size=size)
        boxes.append(_leave_grid(rng, box) if rng.random() < OFF_GRID_SHARE else box)
    return replace(scene, placements=tuple(boxes))


def _size(rng: Generator, layout: str) -> int:
    sizes = {
        "single": (TRIPLE, SMALL, SINGLE, SINGLE, BIG),
        "small": (TRIPLE, SMALL),
        "big": (BIG,),
        "row": (TRIPLE, PAIR, PAIR, PAIR),
        "column": (TRIPLE, PAIR, PAIR, PAIR),
    }.get(layout, (TRIPLE,))
    return sizes[int(rng.integers(len(sizes)))]


def _edge(rng: Generator, free: int) -> int:
    return CELL * int(rng.integers(free // CELL + 1))


def _leave_grid(rng: Generator, box: Placement) -> Placement:
    size = int(box.size * rng.uniform(0.85, 1.0))
    left, top = (
        int(np.clip(edge + rng.integers(-4, 5), 0, SIZE - size)) for edge in (box.left, box.top)
    )
    return replace(box, left=left, top=top, size=size)


def draw_map(scene: Scene, sprites: Sprites, rng: Generator | None = None) -> Levels:
    """Return white silhouettes of the objects on black, (128, 128).

    With ``rng`` some are drawn as a person would: as ellipses or boxes, or not quite in place.
    """
    mask = np.zeros((SIZE, SIZE), np.float32)
    style = rng.random() if rng else 0.0
    for box in scene.placements:
        if rng and style > EXACT_SHARE + SHAPE_SHARE:
            box = _move(rng, box)
        alpha = sprites(box.concept, box.size - MARGIN)[..., 3]
        top, left = corner(box, alpha)
        if rng and EXACT_SHARE < style <= EXACT_SHARE + SHAPE_SHARE:
            alpha = _shape(rng, alpha.shape)
        height, width = alpha.shape
        region = mask[top : top + height, left : left + width]
        np.maximum(region, alpha[: len(region), : region.shape[1]], out=region)
    if rng and rng.random() < 0.5:
        mask = (mask > 0.5).astype(np.float32)
    levels: Levels = (mask * 255).round().astype(np.uint8)
    return levels


def draw_shapes_for(scene: Scene, sprites: Sprites) -> Levels:
    """Return a map of ellipses that are as wide and high as the objects."""
    levels = np.zeros((SIZE, SIZE), np.uint8)
    for box in scene.placements:
        alpha = sprites(box.concept, box.size - MARGIN)[..., 3]
        top, left = corner(box, alpha)
        height, width = alpha.shape
        levels[top : top + height, left : left + width] |= _ellipse(alpha.shape)
    return levels * np.uint8(255)


def _move(rng: Generator, box: Placement) -> Placement:
    size = min(SIZE, round(box.size * rng.uniform(1 - _SCALED, 1 + _SCALED)))
    left, top = (
        int(np.clip(edge + rng.integers(-_MOVED, _MOVED + 1), 0, SIZE - size))
        for edge in (box.left, box.top)
    )
    return replace(box, left=left, top=top, size=size)


def _shape(rng: Generator, size: tuple[int, ...]) -> Mask:
    """Return an ellipse or a box that fills ``size``."""
    if rng.random() < 0.3:
        return np.ones(size, np.float32)
    return _ellipse(size).astype(np.float32)


def _ellipse(size: tuple[int, ...]) -> NDArray[np.bool_]:
    y, x = (np.linspace(-1, 1, side, dtype=np.float32) for side in size)
    inside: NDArray[np.bool_] = x[None] ** 2 + y[:, None] ** 2 <= 1
    return inside


def blur_a_little(rng: Generator, image: Levels) -> Levels:
    """Return the image as it is, or a little softer, as a generated one is."""
    if rng.random() < 0.5:
        return image
    return np.asarray(cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.3, 0.8))), np.uint8)
