"""Describe input images by the hash of their files, and read them as pixels and masks."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sdcli.errors import UsageError
from sdcli.input_images import InputImage
from sdcli.inputs.paths import expand_user
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
    with open_header(file) as image:
        check_pixel_count(file, *image.size)
        width, height = image.size
        if image.getexif().get(_ORIENTATION, 1) >= 5:
            width, height = height, width
    return InputImage(path=path, sha256=hash_file(file), width=width, height=height)


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, read again only after the file has changed."""
    status = path.stat()
    return _hash(path, status.st_mtime_ns, status.st_size, status.st_ino)


# A prompt file may name one image in thousands of lines.
@lru_cache(maxsize=1024)
def _hash(path: Path, *_: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_input(path: str, sha256: str) -> tuple[NDArray[np.uint8], list[str]]:
    """Read an image as pixels (height, width, 3), and return them with notes on what was lost.

    Raises UsageError if the file is no longer the one with this hash, and as `read_pixels` does.
    """
    file = expand_user(path)
    pixels, notes = read_pixels(file)
    if hash_file(file) != sha256:
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
