"""Heat maps drawn over images."""

from __future__ import annotations

import numpy as np
import pytest

from sdcli.storage.images.heat_map import draw_heat_map, enlarge_smoothly, mark_point


@pytest.mark.parametrize(
    ("size", "drawn"), [((128, 128), (256, 256)), ((72, 40), (504, 280)), ((512, 768), (512, 768))]
)
def test_small_images_are_enlarged(size, drawn):
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    assert enlarge_smoothly(pixels).shape == (drawn[1], drawn[0], 3)


@pytest.mark.parametrize("style", ["grey", "spot"])
def test_the_map_is_where_it_is_high(style):
    pixels = np.full((256, 256, 3), (200, 100, 50), np.uint8)
    heat = np.zeros((8, 8))
    heat[2:6, 0:4] = 1.0
    drawn = draw_heat_map(pixels, heat, style).astype(int)
    assert drawn.shape == pixels.shape
    assert drawn[128, 64].sum() > 2 * drawn[128, 220].sum()
    if style == "spot":
        assert np.array_equal(drawn[128, 64], pixels[128, 64])
    else:
        # Outside it is grey.
        red, green, blue = drawn[128, 220]
        assert max(red, green, blue) - min(red, green, blue) < 16
    white = (drawn == 255).all(-1)
    # The line is around the area, not along the border of the image.
    assert white[100:156, 120:140].any()
    assert not white[80:176, 0].any()


def test_a_map_that_is_high_everywhere_has_no_line():
    drawn = draw_heat_map(np.zeros((64, 64, 3), np.uint8), np.ones((4, 4)))
    assert not (drawn == 255).all(-1).any()


@pytest.mark.parametrize("point", [(0.0, 0.0), (0.5, 0.5), (0.999, 0.999)])
def test_a_point_is_marked_where_it_is(point):
    pixels = np.full((256, 320, 3), 128, np.uint8)
    marked = mark_point(pixels, *point)
    changed = np.argwhere((marked != pixels).any(-1))
    assert len(changed) > 0
    x, y = point
    distance = np.abs(changed - [y * 256, x * 320]).max()
    assert distance <= 12
    assert (pixels == 128).all()
