"""Measure how well an image agrees with its control image."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sdcli.storage.images.edges import find_edges

THRESHOLD = 30  # levels of 255 by which an object differs from the background
TOLERANCE = 1  # pixels between edges that agree
Levels = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def find_silhouette(image: Levels) -> Mask:
    """Return what differs from the median color of the border, (128, 128), without holes."""
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    difference = np.abs(image.astype(np.int16) - np.median(border, axis=0)).max(-1)
    return fill_holes(difference > THRESHOLD)


def fill_holes(mask: Mask) -> Mask:
    """Return the mask with the insides of its outlines."""
    filled = np.zeros(mask.shape, np.uint8)
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(filled, outlines, -1, 1, thickness=-1)
    return filled > 0


def overlap(first: Mask, second: Mask) -> float:
    """Return the intersection of two masks divided by their union."""
    return float((first & second).sum() / max(1, (first | second).sum()))


def map_agreement(image: Levels, drawn: Levels) -> float:
    """Return the overlap of the objects in an image with the white parts of a map."""
    return overlap(find_silhouette(image), fill_holes(drawn > 127))


def edge_agreement(image: Levels, edges: Levels) -> float:
    """Return the F1 score of the edges in an image, for given edges (128, 128).

    It is the harmonic mean of the shares of either edges that lie on the others, give or take
    ``TOLERANCE`` pixels.
    """
    found, wanted = find_edges(image)[..., 0] > 0, edges > 0
    precision, recall = _share_near(found, wanted), _share_near(wanted, found)
    return 2 * precision * recall / max(1e-9, precision + recall)


def _share_near(edges: Mask, others: Mask) -> float:
    kernel: NDArray[Any] = np.ones((2 * TOLERANCE + 1,) * 2, np.uint8)
    near = cv2.dilate(others.astype(np.uint8), kernel) > 0
    return float(near[edges].mean()) if edges.any() else 0.0
