"""Describe input images by the hash of their files, and read them as pixels and masks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from sdcli.checkpoints import file_hashes
from sdcli.checkpoints.file_state import cache_by_files
from sdcli.errors import UsageError
from sdcli.input_images import InputImage
from sdcli.inputs.paths import expand_user
from sdcli.storage.images.embedded_text import read_exif
from sdcli.storage.images.opening import open_header
from sdcli.storage.images.pixel_limit import check_pixel_count
from sdcli.storage.images.pixels import read_pixels

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_ORIENTATION: Final = 274
"""EXIF's tag of how the pixels are turned; from 5 on, the image lies on its side."""


def describe_input(path: str) -> InputImage:
    """Read the hash and the size of an image file, without decoding its pixels.

    Raises UsageError when there is no file or it has too many pixels, CorruptError when it is not
    an image.
    """
    file = expand_user(path)
    width, height = _upright_size(file)
    # Not within, where the limit of an earlier run would be remembered.
    check_pixel_count(file, width, height)
    return InputImage(path=path, sha256=file_hashes.sha256(file), width=width, height=height)


# A prompt file may name one image in thousands of lines.
@cache_by_files
def _upright_size(file: Path) -> tuple[int, int]:
    with open_header(file) as image:
        width, height = image.size
        is_on_its_side = read_exif(file, image).get(_ORIENTATION, 1) >= 5
        return (height, width) if is_on_its_side else (width, height)


def read_input(path: str, sha256: str) -> tuple[NDArray[np.uint8], list[str]]:
    """Read an image as pixels (height, width, 3), and return them with notes on what was lost.

    Raises UsageError if the file is no longer the one with this hash, and as `read_pixels` does.
    """
    file = expand_user(path)
    pixels, notes = read_pixels(file)
    if file_hashes.sha256(file) != sha256:
        raise UsageError(
            f"{path} has changed since the run began",
            code="usage.image",
            hint="run the command again",
        )
    return pixels, [f"{file.name}: {note}" for note in notes]


def read_mask(path: str, sha256: str) -> tuple[NDArray[np.uint8], list[str]]:
    """Read a mask as its luminance (height, width): 255 is to be repainted, 0 is to be kept."""
    import numpy as np
    from PIL import Image

    pixels, notes = read_input(path, sha256)
    return np.asarray(Image.fromarray(pixels).convert("L")), notes
