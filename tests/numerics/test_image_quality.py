"""Sharpness and saturation, by their relations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from sdcli.numerics.image_quality import saturation, sharpness
from tests.gallery_images import drawn_pixels, plain_color


def test_blur_lowers_the_sharpness_and_a_mirror_does_not() -> None:
    for pixels in drawn_pixels():
        # Not rounded to 8 bits: after a strong blur, their steps would be what is sharp.
        values = [
            sharpness(gaussian_filter(pixels.astype(float), (radius, radius, 0)))
            for radius in (0, 1, 2, 4)
        ]
        assert values == sorted(values, reverse=True)
        assert len(set(values)) == 4
        assert sharpness(pixels[:, ::-1]) == pytest.approx(values[0])


def test_a_plain_color_is_not_sharp() -> None:
    assert sharpness(plain_color(3)) == pytest.approx(0, abs=1e-20)
    assert sharpness(plain_color(3, size=2)) == 0


@pytest.mark.parametrize(
    ("color", "expected"),
    [((0, 0, 0), 0), ((128, 128, 128), 0), ((255, 0, 0), 1), ((200, 100, 100), 0.5)],
)
def test_saturation_of_colors(color: tuple[int, int, int], expected: float) -> None:
    pixels = np.broadcast_to(np.array(color, np.uint8), (4, 4, 3))
    assert saturation(pixels) == pytest.approx(expected)
