"""The match of an image with a rendering."""

from __future__ import annotations

import numpy as np
import pytest

from sdcli.training.match_quality import best_psnr, placement_errors
from sdcli.training.scenes import render
from sdcli.training.sprites import Sprites
from tests.training.example_scenes import red_circle


def test_a_rendering_matches_its_own_object_best(shapes: Sprites) -> None:
    image = render(red_circle(), shapes)
    assert best_psnr(image, "red circle", shapes) > 50
    assert best_psnr(image, "red square", shapes) < 25


def test_the_errors_equal_those_of_drawing_at_each_position(shapes: Sprites) -> None:
    rng = np.random.default_rng(3)
    image = rng.random((128, 128, 3), np.float32)
    background = np.array([0.2, 0.5, 0.7], np.float32)
    sprite = shapes("red star", 70)
    height, width = sprite.shape[:2]
    errors = placement_errors(image, background, sprite)
    for top, left in ((0, 0), (20, 31), (128 - height, 128 - width)):
        expected = np.broadcast_to(background, image.shape).copy()
        region = expected[top : top + height, left : left + width]
        region *= 1 - sprite[..., 3:]
        region += sprite[..., :3]
        assert errors[top, left] == pytest.approx(np.square(expected - image).mean(), rel=1e-4)
