"""Read images as pixel arrays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sdcli.errors import UsageError
from sdcli.storage.images.opening import open_image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image


def read_pixels(path: Path, *, grid: int = 1) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Read an image as pixels (height, width, 3), and return them with notes on what changed.

    The image is rotated as EXIF says, transparency becomes white, and the right and bottom edges
    are cut to multiples of `grid`. Raises UsageError when there is no file or the image is smaller
    than the grid, CorruptError when it is not a readable image.
    """
    import numpy as np
    from PIL import ImageOps

    with open_image(path) as file:
        image, notes = _flatten(ImageOps.exif_transpose(file))
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


def _flatten(image: Image) -> tuple[Image, list[str]]:
    """Convert to RGB, with transparency on white, and note it."""
    from PIL import Image as pillow  # noqa: N813 - the module, beside its class of that name

    if not image.has_transparency_data:
        return image.convert("RGB"), []
    layer = image.convert("RGBA")
    # An alpha channel that hides nothing is not worth a note.
    if layer.getchannel("A").getextrema() == (255, 255):
        return image.convert("RGB"), []
    paper = pillow.new("RGBA", layer.size, "white")
    return pillow.alpha_composite(paper, layer).convert("RGB"), ["transparency became white"]


def resize_pixels(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Scale pixels (height, width, 3) to another size by averaging boxes."""
    import numpy as np
    from PIL import Image

    image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX)
    return np.asarray(image)
