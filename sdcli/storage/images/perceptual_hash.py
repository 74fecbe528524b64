"""Find images that look alike."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from sdcli.storage.images.pixels import to_image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BITS: Final = 64


def is_available() -> bool:
    """Whether the package that computes the hashes is installed."""
    return find_spec("imagehash") is not None


def perceptual_hash(pixels: NDArray[np.uint8]) -> int:
    """Return a hash of 64 bits (pHash). Those of similar images differ in few bits."""
    import imagehash

    return int(str(imagehash.phash(to_image(pixels))), 16)


def distance(first: int, second: int) -> int:
    """Return the number of bits in which two hashes differ."""
    return (first ^ second).bit_count()
