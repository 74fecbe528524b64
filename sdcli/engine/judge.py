"""Recognize the objects and the background in images of the embedded model's kind.

A small classifier chooses among the objects that the model can draw, so it tells whether the right
object is in the right place, but not how well it is drawn. `sdcli.training.judge` trains it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (PyTorch's convention)
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sdcli.prompts.scene import JUDGE_FOLDER, read_vocabulary

SIDE: Final = 40
"""Width and height in pixels of the classifier's input."""
NOTHING: Final = "nothing"
WEIGHTS: Final = "classifier.safetensors"
_BORDERS: Final = "background_borders"
_CANVAS: Final = 128
_BORDER: Final = 6
"""Width in pixels of the edge of an image that shows only the background."""

Pixels = NDArray[np.float32]


class Classifier(nn.Module):
    """A classifier of images (batch, 3, 40, 40) in 0 to 1."""

    def __init__(self, classes: int) -> None:
        """Build three stages of convolutions and a linear layer."""
        super().__init__()
        stages = [
            nn.Sequential(
                nn.Conv2d(a, b, 3, padding=1),
                nn.GroupNorm(8, b),
                nn.ReLU(),
                nn.Conv2d(b, b, 3, padding=1),
                nn.GroupNorm(8, b),
                nn.ReLU(),
                nn.MaxPool2d(2),
            )
            for a, b in pairwise((3, 32, 64, 128))
        ]
        self.body = nn.Sequential(*stages)
        self.head = nn.Linear(128 * 25, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, (batch, classes)."""
        logits: Tensor = self.head(self.body(x).flatten(1))
        return logits


def crop_boxes(layout: str, count: int) -> list[tuple[int, int, int]]:
    """Return (left, top, side) in pixels of the square that each of `count` objects must be in."""
    if layout == "row" or (layout == "many" and count == 2):
        return [(0, 24, 80), (48, 24, 80)]
    if layout == "column":
        return [(24, 0, 80), (24, 48, 80)]
    if count == 3:
        return [(40 * i, 32, 48) for i in range(3)]
    if layout == "small":
        return [(16, 16, 96)]
    return [(0, 0, _CANVAS)]


def crops(image: Tensor, boxes: Sequence[tuple[int, int, int]]) -> Tensor:
    """Return the squares of an image (3, 128, 128) in 0 to 1, as (objects, 3, 40, 40)."""
    squares = [image[None, :, top : top + side, left : left + side] for left, top, side in boxes]
    return torch.cat([F.interpolate(x, size=(SIDE, SIDE), mode="area") for x in squares])


def border_pixels(pixels: Pixels) -> Pixels:
    """Return the pixels at the edge of an image (128, 128, 3), as (pixels, 3)."""
    inside = np.zeros(pixels.shape[:2], bool)
    inside[_BORDER:-_BORDER, _BORDER:-_BORDER] = True
    border: Pixels = pixels[~inside]
    return border


class Judge:
    """A trained classifier for objects, and a nearest-neighbor rule for the background."""

    def __init__(
        self,
        classifier: Classifier,
        objects: Sequence[str],
        backgrounds: Sequence[tuple[str, Pixels]],
    ) -> None:
        """Set the classifier, the names of its classes, and names with border pixels in 0 to 1."""
        self._classifier = classifier.eval()
        self._names = [*objects, NOTHING]
        self._backgrounds = backgrounds

    @torch.no_grad()
    def classify_objects(self, image: NDArray[np.uint8], layout: str, count: int) -> list[str]:
        """Return the name of the object at each place of an image (128, 128, 3), or "nothing"."""
        x = torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)
        logits = self._classifier(crops(x, crop_boxes(layout, count)))
        return [self._names[i] for i in logits.argmax(1).tolist()]

    def classify_background(self, image: NDArray[np.uint8]) -> str:
        """Return the background whose border is nearest.

        The distance is the median over the pixels, which an object at the border does not change.
        """
        border = border_pixels(image.astype(np.float32) / np.float32(255))

        def distance(background: tuple[str, Pixels]) -> float:
            return float(np.median(np.abs(border - background[1]).sum(1)))

        return min(self._backgrounds, key=distance)[0]

    def save(self, folder: Path) -> None:
        """Write the weights in half precision, and the borders in levels of 255."""
        tensors = {name: x.half() for name, x in self._classifier.state_dict().items()}
        levels = [np.rint(border * 255).astype(np.uint8) for _, border in self._backgrounds]
        tensors[_BORDERS] = torch.from_numpy(np.stack(levels))
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def load_judge(folder: Path = JUDGE_FOLDER) -> Judge:
    """Load the judge that is part of the package."""
    vocabulary = read_vocabulary(folder)
    tensors = load_file(folder / WEIGHTS)
    borders = tensors.pop(_BORDERS).numpy().astype(np.float32) / np.float32(255)
    classifier = Classifier(len(vocabulary.objects) + 1)
    classifier.load_state_dict({name: x.float() for name, x in tensors.items()})
    backgrounds = list(zip(vocabulary.backgrounds, borders, strict=True))
    return Judge(classifier, vocabulary.objects, backgrounds)
