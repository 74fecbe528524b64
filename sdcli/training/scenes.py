"""Sample random scenes of objects on backgrounds, and render them.

Boxes lie on the 8-pixel grid of the latents and have few sizes. An object moved by one cell has the
same latents moved by one cell, so that a small network can learn to draw every object sharply. A
tenth of all pairs of objects, and of all pairs of an object and a background, is held out from
training.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sdcli.training.backgrounds import SIZE, paint_background
from sdcli.training.concepts import COLORED_SHAPES, COLORS, CONCEPTS, OBJECTS, SCENERY, can_be_many
from sdcli.training.sprites import Sprites

CELL = 8
SINGLE, SMALL, PAIR, BIG, TRIPLE = 96, 64, 64, 112, 40
MARGIN = 4
"""Pixels by which an object is smaller than its box, so that neighbors do not touch."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """An object and its square box, in pixels."""

    concept: str
    left: int
    top: int
    size: int


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The contents of an image. ``layout`` is single, small, big, row, column, many or triple."""

    placements: tuple[Placement, ...]
    layout: str
    background: str
    flipped: bool = False
    shade: tuple[int, int, int] = (0, 0, 0)


def _is_pair_held_out(*names: str) -> bool:
    # A hash, so that the selection does not depend on the order or the number of concepts.
    digest = hashlib.sha256("|".join(sorted(names)).encode()).digest()
    return digest[0] % 10 == 0


def is_held_out(scene: Scene) -> bool:
    """Whether a pair of its objects, or an object with its background, is held out."""
    names = sorted({p.concept for p in scene.placements})
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    return any(_is_pair_held_out(*pair) for pair in pairs) or any(
        _is_pair_held_out(name, "background " + scene.background) for name in names
    )


def _random_edge(rng: Generator, low: int, high: int) -> int:
    """Return a random edge in pixels, on the grid, from ``low`` to ``high`` cells."""
    return CELL * int(rng.integers(low, high + 1))


def _central_edge(rng: Generator, size: int) -> int:
    """Return a random edge near the center, in pixels.

    Steps of two cells keep the pattern the same at the UNet's next level as well.
    """
    free = (SIZE - size) // (2 * CELL)
    return 2 * _random_edge(rng, max(0, free // 2 - 1), min(free, (free + 1) // 2 + 1))


def arrange(rng: Generator, names: list[str], layout: str) -> tuple[Placement, ...]:
    """Return boxes for ``names``, left to right or top to bottom, as captions name them."""
    if layout in ("single", "small", "big"):
        size = {"small": SMALL, "big": BIG}.get(layout, SINGLE)
        return (
            Placement(
                concept=names[0],
                left=_central_edge(rng, size),
                top=_central_edge(rng, size),
                size=size,
            ),
        )
    if len(names) == 3:
        size, start, across = TRIPLE, _random_edge(rng, 0, 1), _random_edge(rng, 4, 5)
    else:
        size, start, across = PAIR, 0, _random_edge(rng, 3, 5)
    along = [start + i * size for i in range(len(names))]
    if layout == "column":
        return tuple(
            Placement(concept=n, left=across, top=a, size=size)
            for n, a in zip(names, along, strict=True)
        )
    return tuple(
        Placement(concept=n, left=a, top=across, size=size)
        for n, a in zip(names, along, strict=True)
    )


def _random_object(rng: Generator) -> str:
    pool = OBJECTS if rng.random() < 0.76 else COLORED_SHAPES
    return pool[int(rng.integers(len(pool)))].name


def _random_objects(rng: Generator, layout: str) -> list[str]:
    if layout == "many":
        while not can_be_many(CONCEPTS[name := _random_object(rng)]):
            pass
        return [name] * (2 if rng.random() < 0.7 else 3)
    count = {"row": 2, "column": 2, "triple": 3}.get(layout, 1)
    names: list[str] = []
    while len(names) < count:
        if (name := _random_object(rng)) not in names:
            names.append(name)
    return names


def _random_background(rng: Generator) -> str:
    chance = rng.random()
    if chance < 0.3:
        return "white"
    if chance < 0.48:
        return SCENERY[int(rng.integers(len(SCENERY)))]
    return list(COLORS)[int(rng.integers(len(COLORS)))]


# The share of each layout.
LAYOUTS = {
    "single": 0.36,
    "small": 0.03,
    "big": 0.05,
    "row": 0.23,
    "column": 0.14,
    "many": 0.09,
    "triple": 0.10,
}


def sample(rng: Generator, *, layout: str | None = None, background: str | None = None) -> Scene:
    """Return a random scene, held out or not, whose objects are visible on its background."""
    layout = layout or str(rng.choice(list(LAYOUTS), p=list(LAYOUTS.values())))
    background = background or _random_background(rng)
    names = _random_objects(rng, layout)
    while any(CONCEPTS[name].color == background for name in names):
        names = _random_objects(rng, layout)
    red, green, blue = (int(v) for v in rng.integers(-2, 3, 3))
    return Scene(
        placements=arrange(rng, names, layout),
        layout=layout,
        background=background,
        flipped=bool(rng.random() < 0.5),
        shade=(red, green, blue),
    )


def sample_for_training(rng: Generator) -> Scene:
    """Return a random scene without held-out pairs."""
    while is_held_out(scene := sample(rng)):
        pass
    return scene


def sample_held_out(rng: Generator, *, layout: str) -> Scene:
    """Return a random scene with a held-out pair."""
    while not is_held_out(scene := sample(rng, layout=layout)):
        pass
    return scene


def corner(box: Placement, sprite: NDArray[np.float32]) -> tuple[int, int]:
    """Return the top and the left edge of a sprite in the middle of its box, in pixels."""
    height, width = sprite.shape[:2]
    return box.top + (box.size - height) // 2, box.left + (box.size - width) // 2


def render(scene: Scene, sprites: Sprites) -> NDArray[np.uint8]:
    """Render the scene as uint8 levels, (128, 128, 3)."""
    pixels = paint_background(scene.background, flipped=scene.flipped, shade=scene.shade)
    for box in scene.placements:
        sprite = sprites(box.concept, box.size - MARGIN)
        height, width = sprite.shape[:2]
        top, left = corner(box, sprite)
        region = pixels[top : top + height, left : left + width]
        region *= 1 - sprite[..., 3:]
        region += sprite[..., :3]
    levels: NDArray[np.uint8] = (pixels * 255).round().clip(0, 255).astype(np.uint8)
    return levels
