"""Draw heat maps over images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sdcli.numerics.color_ramp import color_ramp

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MIN_SIDE: Final = 256
"""Smaller images are enlarged to this side, so that the maps can be seen."""
_LUMINANCE: Final = (0.2126, 0.7152, 0.0722)
_WHITE: Final = (255, 255, 255)


def enlarge_smoothly(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Enlarge a small image (height, width, 3) to a readable size, and return any other one."""
    import numpy as np
    from PIL import Image

    height, width = pixels.shape[:2]
    factor = -(-_MIN_SIDE // min(height, width))
    if factor == 1:
        return pixels
    size = width * factor, height * factor
    return np.array(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def draw_heat_map(
    pixels: NDArray[np.uint8], heat: NDArray[Any], style: str = "grey"
) -> NDArray[np.uint8]:
    """Draw a map of 0 to 1, of any size, over an image (height, width, 3).

    "grey" darkens the image to grey and lays the colours of the map over it; "spot" leaves the
    image's own colours where the map is high. A white line surrounds what is above one half.
    """
    import numpy as np

    height, width = pixels.shape[:2]
    values = _resize(heat, width, height)
    drawn = (_draw_spot if style == "spot" else _draw_grey)(pixels.astype(float), values)
    image: NDArray[np.uint8] = drawn.round().clip(0, 255).astype(np.uint8)
    image[_outline(values >= 0.5, line=max(1, min(height, width) // 256))] = _WHITE
    return image


def mark_point(pixels: NDArray[np.uint8], x: float, y: float) -> NDArray[np.uint8]:
    """Draw a cross at a point, given as parts (0 to 1) of the width and the height."""
    marked = pixels.copy()
    height, width = marked.shape[:2]
    column, row, arm = int(x * width), int(y * height), max(4, min(height, width) // 32)
    for color, line in (((0, 0, 0), 2), (_WHITE, 0)):
        long, thin = arm + line // 2, max(1, arm // 4) + line
        marked[max(0, row - long) : row + long, max(0, column - thin // 2) :][:, :thin] = color
        marked[max(0, row - thin // 2) :, max(0, column - long) : column + long][:thin] = color
    return marked


def _draw_grey(pixels: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    grey = (pixels @ np.array(_LUMINANCE))[..., None] * 0.45 + 12
    opacity = (0.1 + 0.8 * values)[..., None]
    mixed: NDArray[Any] = grey * (1 - opacity) + color_ramp()[_levels(values)] * opacity
    return mixed


def _draw_spot(pixels: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
    light = (0.18 + 0.82 * values**0.8)[..., None]
    spot: NDArray[Any] = pixels * light + 20 * (1 - light)
    return spot


def _levels(values: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    return (values * 255).round().astype(np.intp)


def _resize(heat: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    import numpy as np
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(heat, dtype=np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC)).clip(0, 1)


def _outline(inside: NDArray[np.bool_], line: int) -> NDArray[np.bool_]:
    """The inner edge of an area, of `line` pixels; the border of the image is no edge."""
    import numpy as np

    kept = inside
    for _ in range(line):
        padded = np.pad(kept, 1, mode="edge")
        kept = kept & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inside & ~kept
