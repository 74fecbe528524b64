"""Define what is known of an input image before, and for, the run that starts from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class InputImage:
    """An image file: the SHA-256 of its bytes, and its size in pixels as it is shown."""

    path: str
    sha256: str
    width: int
    height: int


InputReader = Callable[[str], InputImage]
"""Describes the image file at a path. Raises UsageError and CorruptError."""


@dataclass(frozen=True, kw_only=True, eq=False)
class InputPixels:
    """The pixels that a run starts from, at the size that it draws.

    `image` is (height, width, 3) uint8. `mask` is (height, width) bool, True where to repaint, in
    whole cells of one latent each; None repaints everything.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class ControlPixels:
    """The images for the ControlNets of a run, each (height, width, 3) uint8.

    `first` are at the size of the first pass, `second` at that of the second one, if there is one.
    """

    first: Sequence[NDArray[np.uint8]]
    second: Sequence[NDArray[np.uint8]] = ()
