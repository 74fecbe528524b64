"""The judge: says which thing is in a square of a picture, and which background is behind it all.

A small classifier, trained on clean renderings and validated on scenes it never saw and on what the
VAE makes of them. It is closed-set: it measures what and where, not how well drawn (``evaluate``
does).
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (as everybody calls it)
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor, nn

from sdcli.training.backgrounds import SIZE, paint
from sdcli.training.concepts import BACKGROUNDS, CLASS_INDEX, SCENERY
from sdcli.training.loop import StepRandom, result
from sdcli.training.scenes import Scene
from sdcli.training.sprites import Sprites, load_sprites

SIDE = 40  # the judge looks at squares of 40 × 40 pixels
NOTHING = len(CLASS_INDEX)
RING = 6  # width of the border that shows the background
Pixels = NDArray[np.float32]


class Classifier(nn.Module):
    """(batch, 3, 40, 40) in 0…1 → (batch, classes + nothing) logits."""

    def __init__(self) -> None:
        """Three stages of convolutions."""
        super().__init__()
        widths = (3, 32, 64, 128)
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
            for a, b in pairwise(widths)
        ]
        self.body = nn.Sequential(*stages)
        self.head = nn.Linear(128 * 25, NOTHING + 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of each class."""
        logits: Tensor = self.head(self.body(x).flatten(1))
        return logits


def _ground(rng: Generator) -> Pixels:
    """A square piece of some background, as a view of a scene shows it."""
    whole = paint(str(rng.choice(BACKGROUNDS)), flipped=bool(rng.random() < 0.5))
    size = int(rng.integers(SIDE, SIZE + 1))
    top, left = (int(v) for v in rng.integers(0, SIZE - size + 1, 2))
    steps = (np.arange(SIDE) * size // SIDE).astype(int)
    part: Pixels = whole[top + steps][:, left + steps]
    return part


def _paste(pixels: Pixels, sprite: Pixels, top: int, left: int) -> None:
    """Lay ``sprite`` over ``pixels``; what reaches over the edge is cut."""
    height, width = sprite.shape[:2]
    y0, x0, y1, x1 = max(top, 0), max(left, 0), min(top + height, SIDE), min(left + width, SIDE)
    if y0 < y1 and x0 < x1:
        part = sprite[y0 - top : y1 - top, x0 - left : x1 - left]
        pixels[y0:y1, x0:x1] = pixels[y0:y1, x0:x1] * (1 - part[..., 3:]) + part[..., :3]


def example(rng: Generator, sprites: Sprites) -> tuple[Pixels, int]:
    """One training square with its class."""
    pixels = _ground(rng).copy()
    names = list(CLASS_INDEX)
    if rng.random() < 0.3:  # a neighbour's edge
        other = sprites(names[int(rng.integers(len(names)))], 32)
        away = int(rng.integers(30, 38)) * (1 if rng.random() < 0.5 else -1)
        _paste(pixels, other, *((4, away) if rng.random() < 0.5 else (away, 4)))
    if rng.random() < 0.03:
        return pixels, NOTHING
    label = int(rng.integers(len(names)))
    size = int(rng.integers(20, 39))
    sprite = sprites(names[label], size)
    top = int(rng.integers(0, SIDE - sprite.shape[0] + 1))
    left = int(rng.integers(0, SIDE - sprite.shape[1] + 1))
    _paste(pixels, sprite, top, left)
    return pixels, label


class JudgeStage:
    """Trains the classifier."""

    name = "judge"
    muon_lr, adamw_lr, weight_decay, ema_decay = 3e-3, 1.5e-3, 0.01, 0.98
    batch = 64

    def __init__(self, folder: Path) -> None:
        """Render the sprites."""
        self.sprites = load_sprites(folder)
        self.classifier = Classifier()
        self.modules: dict[str, nn.Module] = {"judge": self.classifier}

    def loss(self, draw: StepRandom, progress: float, rank: int) -> tuple[Tensor, dict[str, float]]:
        """Cross-entropy on fresh squares, some blurred, with a little noise."""
        made = [example(draw.numpy, self.sprites) for _ in range(self.batch)]
        x = torch.from_numpy(np.stack([pixels for pixels, _ in made])).permute(0, 3, 1, 2)
        label = torch.tensor([wanted for _, wanted in made])
        half = self.batch // 2
        x = torch.cat(
            [F.avg_pool2d(F.pad(x[:half], (1, 1, 1, 1), mode="replicate"), 3, 1), x[half:]]
        )
        logits = self.classifier(x + 0.02 * draw.normal(*x.shape))
        right = (logits.argmax(1) == label).float().mean().item()
        return F.cross_entropy(logits, label), {"right": right}


def crop_boxes(scene: Scene) -> list[tuple[int, int, int]]:
    """(left, top, side) of the square in which each thing must be."""
    if scene.layout == "row" or (scene.layout == "many" and len(scene.placements) == 2):
        return [(0, 24, 80), (48, 24, 80)]
    if scene.layout == "column":
        return [(24, 0, 80), (24, 48, 80)]
    if len(scene.placements) == 3:
        return [(40 * i, 32, 48) for i in range(3)]
    if scene.layout == "small":
        return [(16, 16, 96)]
    return [(0, 0, SIZE)]


def crops(pictures: Tensor, scene: Scene) -> Tensor:
    """(things, 3, 40, 40): the squares of one (3, 128, 128) picture in 0…1."""
    parts = [
        pictures[None, :, top : top + side, left : left + side]
        for left, top, side in crop_boxes(scene)
    ]
    return torch.cat([F.interpolate(p, size=(SIDE, SIDE), mode="area") for p in parts])


class Judge:
    """A trained classifier and the background's rule."""

    def __init__(self, folder: Path) -> None:
        """Load the finished classifier."""
        self.classifier = Classifier()
        self.classifier.load_state_dict(
            torch.load(result(folder, "judge"), weights_only=True)["judge"]
        )
        self.classifier.eval()
        self._names = [*CLASS_INDEX, "nothing"]
        self._grounds = [
            (name, _ring(paint(name, flipped=flipped)))
            for name in BACKGROUNDS
            for flipped in ((False, True) if name in SCENERY else (False,))
        ]

    @torch.no_grad()
    def things(self, picture: NDArray[np.uint8], scene: Scene) -> list[str]:
        """What stands in each of the scene's places."""
        x = torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1)
        return [self._names[i] for i in self.classifier(crops(x, scene)).argmax(1).tolist()]

    def background(self, picture: NDArray[np.uint8]) -> str:
        """The background whose border is nearest, by the median pixel."""
        ring = _ring(picture.astype(np.float32) / np.float32(255))
        return min(
            self._grounds, key=lambda ground: float(np.median(np.abs(ring - ground[1]).sum(1)))
        )[0]


def _ring(pixels: Pixels) -> Pixels:
    inside = np.zeros(pixels.shape[:2], bool)
    inside[RING:-RING, RING:-RING] = True
    border: Pixels = pixels[~inside]
    return border
