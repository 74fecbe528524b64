"""Find images that look alike."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from sdcli.storage.images.pixels import resize_pixels, to_image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CELLS: Final = 8
_MAX_COLOR_DIFFERENCE: Final = 40
"""Levels of 255 by which a cell of similar images differs at most."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Appearance:
    """A hash of 64 bits (pHash), and the colors of 8 x 8 cells, which the hash does not contain."""

    phash: int
    colors: NDArray[np.uint8]

    def is_like(self, other: Appearance, max_distance: int) -> bool:
        """Whether the hashes differ in at most `max_distance` bits, and the colors hardly."""
        if (self.phash ^ other.phash).bit_count() > max_distance:
            return False
        difference = self.colors.astype(int) - other.colors
        return int(abs(difference).max()) <= _MAX_COLOR_DIFFERENCE


def is_available() -> bool:
    """Whether the package that computes the hashes is installed."""
    return find_spec("imagehash") is not None


def describe(pixels: NDArray[np.uint8]) -> Appearance:
    """Return what tells whether images look alike."""
    import imagehash

    phash = int(str(imagehash.phash(to_image(pixels))), 16)
    return Appearance(phash=phash, colors=resize_pixels(pixels, _CELLS, _CELLS))
