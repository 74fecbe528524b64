"""Train the judge, which recognizes the objects and the background of an image.

A small classifier is trained on clean renderings, and validated on other scenes and on their
reconstructions by the VAE. It chooses among the known classes, so it measures whether the right
object is in the right place, but not how well it is drawn; ``match_quality`` measures that.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (PyTorch's convention)
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor, nn

from sdcli.engine.judge import SIDE, Classifier, Judge, border_pixels
from sdcli.training.backgrounds import SIZE, paint_background
from sdcli.training.concepts import BACKGROUNDS, CLASS_INDEX, COLORS, SCENERY
from sdcli.training.loop import StepRandom, result_file
from sdcli.training.sprites import Sprites, load_sprites

NOTHING = len(CLASS_INDEX)
Pixels = NDArray[np.float32]


def _random_background(rng: Generator) -> Pixels:
    """Return a random square of a random background, (40, 40, 3)."""
    whole = paint_background(str(rng.choice(BACKGROUNDS)), flipped=bool(rng.random() < 0.5))
    size = int(rng.integers(SIDE, SIZE + 1))
    top, left = (int(v) for v in rng.integers(0, SIZE - size + 1, 2))
    offsets = (np.arange(SIDE) * size // SIDE).astype(int)
    square: Pixels = whole[top + offsets][:, left + offsets]
    return square


def _paste(pixels: Pixels, sprite: Pixels, top: int, left: int) -> None:
    """Draw ``sprite`` on ``pixels``, cropped at the edges."""
    height, width = sprite.shape[:2]
    y0, x0, y1, x1 = max(top, 0), max(left, 0), min(top + height, SIDE), min(left + width, SIDE)
    if y0 < y1 and x0 < x1:
        part = sprite[y0 - top : y1 - top, x0 - left : x1 - left]
        pixels[y0:y1, x0:x1] = pixels[y0:y1, x0:x1] * (1 - part[..., 3:]) + part[..., :3]


def random_example(rng: Generator, sprites: Sprites) -> tuple[Pixels, int]:
    """Return a random training image (40, 40, 3) and its class."""
    pixels = _random_background(rng).copy()
    names = list(CLASS_INDEX)
    # The edge of a neighboring object is visible in some crops of a scene.
    if rng.random() < 0.3:
        neighbor = sprites(names[int(rng.integers(len(names)))], 32)
        offset = int(rng.integers(30, 38)) * (1 if rng.random() < 0.5 else -1)
        _paste(pixels, neighbor, *((4, offset) if rng.random() < 0.5 else (offset, 4)))
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
    """Train the classifier."""

    name = "judge"
    muon_lr, adamw_lr, weight_decay, ema_decay = 3e-3, 1.5e-3, 0.01, 0.98
    batch = 64

    def __init__(self, folder: Path) -> None:
        """Render the sprites."""
        self.sprites = load_sprites(folder)
        self.classifier = Classifier(NOTHING + 1)
        self.modules: dict[str, nn.Module] = {"judge": self.classifier}

    def loss(
        self, random: StepRandom, progress: float, rank: int
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the cross-entropy on new examples, half of them blurred, with a little noise."""
        examples = [random_example(random.numpy, self.sprites) for _ in range(self.batch)]
        x = torch.from_numpy(np.stack([pixels for pixels, _ in examples])).permute(0, 3, 1, 2)
        label = torch.tensor([label for _, label in examples])
        # The images of the model are less sharp than the renderings.
        half = self.batch // 2
        x = torch.cat(
            [F.avg_pool2d(F.pad(x[:half], (1, 1, 1, 1), mode="replicate"), 3, 1), x[half:]]
        )
        logits = self.classifier(x + 0.02 * random.normal(*x.shape))
        accuracy = (logits.argmax(1) == label).float().mean().item()
        return F.cross_entropy(logits, label), {"accuracy": accuracy}


def judge_backgrounds() -> list[tuple[str, bool]]:
    """Return the names of all backgrounds, and whether they are mirrored, as landscapes can be."""
    plain = [(name, False) for name in COLORS]
    return plain + [(name, flipped) for name in SCENERY for flipped in (False, True)]


def load_trained_judge(folder: Path) -> Judge:
    """Load the classifier that was trained in ``folder``, and draw the backgrounds."""
    classifier = Classifier(NOTHING + 1)
    classifier.load_state_dict(torch.load(result_file(folder, "judge"), weights_only=True)["judge"])
    backgrounds = [
        (name, border_pixels(paint_background(name, flipped=flipped)))
        for name, flipped in judge_backgrounds()
    ]
    return Judge(classifier, list(CLASS_INDEX), backgrounds)
