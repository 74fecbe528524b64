"""Fit images and masks to a size: cut, scale, crop, pad, extend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sdcli.fields.image import Margins

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def fit(
    pixels: NDArray[np.uint8], width: int, height: int, mode: str, cell: int
) -> NDArray[np.uint8]:
    """Fit an image (height, width, 3) or mask (height, width) to a size.

    An image of the size, but for a rest of less than a `cell` of latents, is only cut at its right
    and bottom edges, so that its pixels stay exact. `mode` is what happens to any other: `stretch`
    scales both sides; `crop` scales it to cover the size, and cuts the rest off evenly; `pad`
    scales it to lie within, and repeats its edges.
    """
    if is_cut((pixels.shape[1], pixels.shape[0]), (width, height), cell):
        return pixels[:height, :width]
    if mode == "stretch":
        return scale(pixels, width, height)
    choose = max if mode == "crop" else min
    factor = choose(width / pixels.shape[1], height / pixels.shape[0])
    inner_width, inner_height = (
        max(1, round(side * factor)) for side in (pixels.shape[1], pixels.shape[0])
    )
    scaled = scale(pixels, inner_width, inner_height)
    left, top = (inner_width - width) // 2, (inner_height - height) // 2
    if mode == "crop":
        return scaled[max(top, 0) : max(top, 0) + height, max(left, 0) : max(left, 0) + width]
    right, bottom = width - inner_width + left, height - inner_height + top
    return _pad(scaled, Margins(-left, right, -top, bottom), mode="edge")


def is_cut(size: tuple[int, int], fitted: tuple[int, int], cell: int) -> bool:
    """Whether a size (width, height) becomes the fitted one by cutting less than a cell off."""
    width, height = (side // cell * cell for side in size)
    return fitted == (width, height)


def scale(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Scale an image with Lanczos' filter, or a mask linearly; the same size changes nothing."""
    import numpy as np
    from PIL import Image

    if pixels.shape[:2] == (height, width):
        return pixels
    image = Image.fromarray(np.ascontiguousarray(pixels))
    # Lanczos' filter rings: beside the edge of a mask, black would not stay black.
    method = Image.Resampling.BILINEAR if pixels.ndim == 2 else Image.Resampling.LANCZOS
    return np.asarray(image.resize((width, height), method))


def extend(pixels: NDArray[np.uint8], margins: Margins) -> NDArray[np.uint8]:
    """Add margins to an image, filled with its mirror image."""
    return _pad(pixels, margins, mode="symmetric")


def extend_mask(mask: NDArray[np.uint8], margins: Margins) -> NDArray[np.uint8]:
    """Add margins to a mask, to be repainted."""
    return _pad(mask, margins, mode="constant", constant_values=255)


def _pad(pixels: NDArray[np.uint8], margins: Margins, **how: Any) -> NDArray[np.uint8]:
    import numpy as np

    rest = [(0, 0)] * (pixels.ndim - 2)
    sides = [(margins.top, margins.bottom), (margins.left, margins.right), *rest]
    padded: NDArray[np.uint8] = np.pad(pixels, sides, **how)
    return padded
