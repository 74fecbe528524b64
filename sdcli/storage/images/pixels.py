"""Read images as pixel arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sdcli.errors import UsageError
from sdcli.storage.images.color_modes import PixelSource, depth_notes, to_rgb
from sdcli.storage.images.color_profiles import from_profile
from sdcli.storage.images.opening import open_header
from sdcli.storage.images.pixel_limit import check_pixel_count

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image as Image

_PAGES: Final = ("GIF", "TIFF", "PNG", "WEBP")
"""Formats whose further images are part of the picture, not previews as in a phone's JPEG."""


def to_image(pixels: NDArray[np.uint8]) -> Image:
    """Return pixels (height, width, 3) as an RGB image of Pillow."""
    from PIL import Image

    return Image.fromarray(pixels)


def read_pixels(path: Path, *, grid: int = 1) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Read an image as pixels (height, width, 3), and return them with notes on what changed.

    The image is rotated as EXIF says, every mode and color profile becomes sRGB, transparency
    becomes white, and the right and bottom edges are cut to multiples of `grid`. Raises UsageError
    when there is no file, when the image is smaller than the grid, larger than the limit, or of a
    mode without a known range of values; CorruptError when it is not a readable image.
    """
    import numpy as np

    rgb, notes = _read_rgb(path)
    width, height = (side // grid * grid for side in rgb.size)
    if not width or not height:
        raise UsageError(
            f"{path}: {rgb.width}x{rgb.height} is smaller than {grid}x{grid}",
            code="usage.image",
        )
    if (width, height) != rgb.size:
        notes.append(
            f"{path}: cut from {rgb.width}x{rgb.height} to {width}x{height}, multiples of {grid}"
        )
    # Pillow's own memory may be read-only.
    return np.asarray(rgb)[:height, :width].copy(), tuple(notes)


def _read_rgb(path: Path) -> tuple[Image, list[str]]:
    from PIL import ImageOps

    with open_header(path) as file:
        # Before anything is decoded: a small file may hold billions of pixels.
        check_pixel_count(path, *file.size)
        source = PixelSource.of(file)
        file.load()
        try:
            image, notes = _to_srgb(ImageOps.exif_transpose(file), source, file.info)
        except UsageError as error:
            raise UsageError(f"{path}: {error.message}", code=error.code, hint=error.hint) from None
        if source.format in _PAGES and getattr(file, "is_animated", False):
            notes.append("only the first of its images is used")
    return image, notes


def _to_srgb(image: Image, source: PixelSource, info: Mapping[Any, Any]) -> tuple[Image, list[str]]:
    """Convert an image of any mode, by the color profile of its file if it has one."""
    profile, mode = info.get("icc_profile"), image.mode
    if not isinstance(profile, bytes) or not profile:
        return to_rgb(image, source)
    if mode == "CMYK":
        # Pillow's own conversion knows no profile, and would lose the colors.
        converted, notes = from_profile(image, profile, mode)
        if converted.mode == "RGB":
            return converted, [*depth_notes(source), *notes]
        rgb, more = to_rgb(image, source)
        return rgb, [*notes, *more]
    rgb, notes = to_rgb(image, source)
    converted, more = from_profile(rgb, profile, mode)
    return converted, [*notes, *more]


def resize_pixels(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Scale pixels (height, width, 3) to another size by averaging boxes."""
    import numpy as np
    from PIL import Image

    image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX)
    return np.asarray(image)
