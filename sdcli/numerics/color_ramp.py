"""Compute an even colour ramp: dark violet, red, orange, pale yellow."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Lightness, chroma and hue (degrees) in OKLCH. Lightness rises evenly, so that the ramp can be
# read in grey and with any kind of colour blindness.
_ANCHORS: Final = (
    (0.22, 0.08, 285.0),
    (0.366, 0.14, 310.0),
    (0.512, 0.18, 350.0),
    (0.658, 0.19, 390.0),
    (0.804, 0.16, 428.0),
    (0.95, 0.10, 465.0),
)
_COLORS: Final = 256


@cache
def color_ramp() -> NDArray[np.uint8]:
    """Return 256 colours (256, 3) in sRGB, from low to high."""
    import numpy as np

    lightness, chroma, hue = np.array(_ANCHORS).T
    x, anchors = np.linspace(0, 1, _COLORS), np.linspace(0, 1, len(_ANCHORS))
    angle = np.radians(np.interp(x, anchors, hue))
    chroma = np.interp(x, anchors, chroma)
    lab = np.interp(x, anchors, lightness), chroma * np.cos(angle), chroma * np.sin(angle)
    linear = _oklab_to_linear(*lab).clip(0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray((srgb * 255).round(), np.uint8)


def _oklab_to_linear(lightness: Any, a: Any, b: Any) -> Any:
    """Convert OKLab to linear RGB by the matrices of its definition (Ottosson, 2020)."""
    import numpy as np

    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return np.stack(
        [
            4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
            -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
            -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
        ],
        axis=-1,
    )
