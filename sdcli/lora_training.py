"""Define what the training of a LoRA is made of: its options, its settings and its images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from sdcli.errors import UsageError
from sdcli.field_metadata import setting

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Beyond, torch's optimizer raises errors of its own.
_LARGEST: Final = 1e6

SIZE_STEP: Final = 8
"""Pixels that the side of a training image is a multiple of."""


@dataclass(frozen=True, kw_only=True)
class LoraTrainingFlags:
    """What is learned, and how."""

    caption: str | None = setting(
        None, "--caption", metavar="TEXT", help="Caption of the images that have none."
    )
    trigger: str | None = setting(
        None,
        "--trigger",
        metavar="WORD",
        help="Word for what is new. It is put before every caption that lacks it.",
    )
    steps: int = setting(
        500, "--steps", metavar="N", help="Training steps.", minimum=1, maximum=10_000_000
    )
    rank: int = setting(
        16,
        "--rank",
        metavar="N",
        help="Rank of the changes: a larger one learns more, in a larger file.",
        minimum=1,
        maximum=1024,
    )
    alpha: float | None = setting(
        None,
        "--alpha",
        metavar="X",
        help="The changes are multiplied by alpha / rank. Default: the rank.",
    )
    lr: float | None = setting(
        None,
        "--lr",
        metavar="X",
        help="Learning rate. Default: 1e-4, and 1e-3 for the embedded model.",
    )
    batch_size: int = setting(
        4,
        "--batch-size",
        metavar="N",
        help="Images per step. A smaller number needs less memory.",
        minimum=1,
        maximum=4096,
    )
    resolution: int | None = setting(
        None,
        "--resolution",
        metavar="PIXELS",
        help="Side of the square that images are scaled and cropped to. Default: the model's "
        "width.",
        minimum=64,
        maximum=4096,
    )
    seed: int | None = setting(
        None,
        "--seed",
        metavar="N",
        help="Seed of the first values, the noise and the order of images. Default: random.",
        minimum=0,
        maximum=2**32 - 1,
    )


@dataclass(frozen=True, kw_only=True)
class LoraSettings:
    """The settings that decide what every step of a training does."""

    rank: int
    alpha: float
    learning_rate: float
    batch_size: int
    resolution: int
    seed: int

    def to_dict(self) -> Mapping[str, Any]:
        """Return the settings by name."""
        return asdict(self)


def choose_settings(
    flags: LoraTrainingFlags, *, width: int, learning_rate: float, seed: int
) -> LoraSettings:
    """Fill in what the options leave open. Raises UsageError for numbers that cannot be meant."""
    for name in ("alpha", "lr"):
        value = getattr(flags, name)
        if value is not None and not 0 < value <= _LARGEST:
            raise UsageError(
                f"--{name}: {value:g} is not above 0, up to a million", code=f"usage.{name}"
            )
    resolution = width if flags.resolution is None else flags.resolution
    if resolution % SIZE_STEP:
        near = max(64, resolution // SIZE_STEP * SIZE_STEP)
        raise UsageError(
            f"--resolution: {resolution} is not a multiple of {SIZE_STEP}",
            code="usage.resolution",
            hint=f"e.g. --resolution {near}",
        )
    return LoraSettings(
        rank=flags.rank,
        alpha=float(flags.rank if flags.alpha is None else flags.alpha),
        learning_rate=learning_rate if flags.lr is None else flags.lr,
        batch_size=flags.batch_size,
        resolution=resolution,
        seed=seed if flags.seed is None else flags.seed,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingImage:
    """An image to train on. `pixels` are (resolution, resolution, 3).

    `original_size` is the (width, height) of the file, and `crop` the (left, top) corner that the
    square has in the scaled image.
    """

    name: str
    caption: str
    pixels: NDArray[np.uint8]
    original_size: tuple[int, int]
    crop: tuple[int, int]
