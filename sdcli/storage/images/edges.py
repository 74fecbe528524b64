"""Find the edges in an image, as ControlNets for edges were trained with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LOW: Final = 100
HIGH: Final = 200
"""Thresholds of the difference to a neighbour, out of 255: the usual ones of such ControlNets."""


def find_edges(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the edges of an image (height, width, 3): white lines on black, of the same shape.

    The method is Canny's, as OpenCV has it.
    """
    import cv2
    import numpy as np

    gray = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)
    edges = np.asarray(cv2.Canny(gray, LOW, HIGH), np.uint8)
    return np.repeat(edges[..., None], 3, axis=2)
