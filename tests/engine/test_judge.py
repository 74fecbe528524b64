"""The judge of the package recognizes what it sees."""

from __future__ import annotations

import numpy as np

from sdcli.engine.judge import load_judge
from sdcli.training.concepts import COLORED_SHAPES
from sdcli.training.scenes import Scene, render, sample
from sdcli.training.sprites import Sprites, draw_shapes

SHAPES = {concept.name for concept in COLORED_SHAPES}


def shape_scenes(count: int) -> list[Scene]:
    """Scenes of colored shapes alone, which need no download."""
    rng = np.random.default_rng(8)
    scenes: list[Scene] = []
    while len(scenes) < count:
        scene = sample(rng)
        if all(p.concept in SHAPES for p in scene.placements):
            scenes.append(scene)
    return scenes


def test_objects_and_backgrounds_are_recognized_at_their_places() -> None:
    judge, sprites = load_judge(), Sprites(draw_shapes())
    hits, swapped, backgrounds = [], [], []
    scenes = shape_scenes(150)
    for scene in scenes:
        image = render(scene, sprites)
        expected = [placement.concept for placement in scene.placements]
        found = judge.classify_objects(image, scene.layout, len(expected))
        hits += [a == b for a, b in zip(found, expected, strict=True)]
        if len(set(expected)) > 1:
            # As a control, the objects in the wrong order.
            swapped += [a == b for a, b in zip(found, expected[1:] + expected[:1], strict=True)]
        backgrounds.append(judge.classify_background(image) == scene.background)
    assert np.mean(hits) >= 0.95
    assert np.mean(swapped) <= 0.05
    assert len(swapped) >= 20
    assert np.mean(backgrounds) >= 0.98
