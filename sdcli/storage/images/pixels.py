"""Pictures read as pixels, with what was done to them told."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from sdcli.errors import CorruptError, UsageError
from sdcli.storage.images.codec import UNREADABLE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image


def read_pixels(path: Path, *, grid: int = 1) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Pixels (height, width, 3) of an image file the right way up, and sentences on what changed.

    The sides are cut, right and bottom, to multiples of `grid`; what is transparent becomes white.
    Raises UsageError for no file or an image smaller than the grid, CorruptError for no image.
    """
    import numpy as np
    from PIL import Image, ImageOps

    if not path.is_file():
        raise UsageError(f"no file at {path}", code="usage.file")
    try:
        with warnings.catch_warnings(), Image.open(path) as file:
            warnings.simplefilter("ignore")
            file.load()
            image, notes = _opaque(ImageOps.exif_transpose(file))
    except (*UNREADABLE, Image.DecompressionBombError) as error:
        raise CorruptError(
            f"{path}: not a readable image ({error})",
            code="image.corrupt",
            hint="make or copy it again",
        ) from error
    width, height = (side // grid * grid for side in image.size)
    if not width or not height:
        raise UsageError(
            f"{path}: {image.width}x{image.height} is smaller than {grid}x{grid}",
            code="usage.image",
        )
    if (width, height) != image.size:
        notes.append(
            f"{path}: cut from {image.width}x{image.height} to {width}x{height}, "
            f"multiples of {grid}"
        )
    return np.array(image.crop((0, 0, width, height))), tuple(notes)


def _opaque(image: Image) -> tuple[Image, list[str]]:
    from PIL import Image as Pillow

    if not image.has_transparency_data:
        return image.convert("RGB"), []
    layer = image.convert("RGBA")
    if layer.getchannel("A").getextrema() == (255, 255):
        return image.convert("RGB"), []
    paper = Pillow.new("RGBA", layer.size, "white")
    return Pillow.alpha_composite(paper, layer).convert("RGB"), ["what is transparent became white"]


def resize_pixels(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Scale pixels (height, width, 3) to another size by averaging boxes."""
    import numpy as np
    from PIL import Image as Pillow

    image = Pillow.fromarray(pixels).resize((width, height), Pillow.Resampling.BOX)
    return np.asarray(image)
