"""Shape masks: soften their edges, grow them to cells of latents, and find the area around them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Box(NamedTuple):
    """A rectangle in pixels; `right` and `bottom` are the first ones outside."""

    left: int
    top: int
    right: int
    bottom: int

    def of(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The part of an image or mask within the box."""
        return pixels[self.top : self.bottom, self.left : self.right]


def soften(mask: NDArray[np.uint8], radius: int) -> NDArray[np.uint8]:
    """Blur a mask by `radius` pixels on each side of its edges, and not one pixel further."""
    import numpy as np
    from PIL import Image, ImageFilter

    if not radius:
        return mask
    image = Image.fromarray(np.ascontiguousarray(mask))
    # Twice: one box leaves a linear ramp with corners. Each reaches half as far, and no Gaussian
    # ends anywhere.
    for part in (radius // 2, radius - radius // 2):
        image = image.filter(ImageFilter.BoxBlur(part))
    return np.asarray(image)


def grow_to_cells(mask: NDArray[np.uint8], cell: int) -> NDArray[np.bool_]:
    """Return True in every cell of `cell` x `cell` pixels in which the mask is not black.

    The pipeline repaints whole cells, and takes one pixel's word for each. The sides of the mask
    must be multiples of the cell's.
    """
    height, width = mask.shape
    cells = mask.reshape(height // cell, cell, width // cell, cell).any(axis=(1, 3))
    grown: NDArray[np.bool_] = cells.repeat(cell, axis=0).repeat(cell, axis=1)
    return grown


def area_around(mask: NDArray[np.uint8], padding: int, width: int, height: int) -> Box:
    """Return the box around what is not black, with padding, in the proportions of a size.

    It is as large as the proportions need, and lies within the mask; in a mask of very different
    proportions, its own are as near as they can be. The mask must not be black all over.
    """
    import numpy as np

    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    left, right = int(columns[0]) - padding, int(columns[-1]) + 1 + padding
    top, bottom = int(rows[0]) - padding, int(rows[-1]) + 1 + padding
    full_height, full_width = mask.shape
    left, top = max(left, 0), max(top, 0)
    right, bottom = min(right, full_width), min(bottom, full_height)
    needed_width = max(right - left, round((bottom - top) * width / height))
    needed_height = max(bottom - top, round((right - left) * height / width))
    left, right = _widen(left, right, needed_width, full_width)
    top, bottom = _widen(top, bottom, needed_height, full_height)
    return Box(left, top, right, bottom)


def _widen(start: int, end: int, length: int, limit: int) -> tuple[int, int]:
    """Widen a range evenly to a length, moved to lie within 0 and the limit."""
    length = min(length, limit)
    start = min(max(start - (length - (end - start)) // 2, 0), limit - length)
    return start, start + length
