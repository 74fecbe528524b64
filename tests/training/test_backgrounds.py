"""The backgrounds."""

from __future__ import annotations

import numpy as np
import pytest

from sdcli.training.backgrounds import SIZE, paint_background
from sdcli.training.concepts import BACKGROUNDS, COLORS, SCENERY


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_a_background_fills_the_image(name: str) -> None:
    pixels = paint_background(name)
    assert pixels.shape == (SIZE, SIZE, 3)
    assert pixels.dtype == np.float32
    assert 0 <= pixels.min() <= pixels.max() <= 1
    assert (pixels.std((0, 1)).max() > 0.01) == (name in SCENERY)


@pytest.mark.parametrize("name", SCENERY)
def test_a_flipped_landscape_is_the_mirror_image(name: str) -> None:
    assert np.array_equal(paint_background(name, flipped=True), paint_background(name)[:, ::-1])


def test_a_shade_changes_a_plain_color() -> None:
    pixels = paint_background("red", shade=(1, -2, 0)) * 255
    assert pixels[0, 0] == pytest.approx(np.add(COLORS["red"], (1, -2, 0)), abs=0.01)


def test_drawing_on_a_background_does_not_change_the_next_one() -> None:
    paint_background("beach")[:] = 0
    assert paint_background("beach").max() > 0
