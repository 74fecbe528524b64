"""Describe the settings of an image that only Stable Diffusion XL has."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from sdcli.field_metadata import setting
from sdcli.field_validation import value_error
from sdcli.inputs.sizes import parse_size

REFINER_AT: Final = 0.8
"""Fraction of a run after which the refiner takes over, unless it is set."""

AESTHETIC_SCORE: Final = 6.0
"""Score that a refiner aims at, unless it is set: the default of Diffusers."""

SIZE_FIELDS: Final = ("original_size", "crop", "target_size")

_POINT: Final = re.compile(r"([0-9]{1,5}) ?, ?([0-9]{1,5})")
_LARGEST: Final = 16384


@dataclass(frozen=True, kw_only=True)
class XlSettings:
    """Settings that other models refuse. None leaves a setting to the model.

    `original_size` and `target_size` are text, "1024x768"; `crop` is text, "left,top".
    """

    prompt_2: str | None = setting(
        None,
        "--prompt-2",
        metavar="TEXT",
        help="SDXL: prompt for the second text encoder. Default: the prompt.",
    )
    negative_prompt_2: str | None = setting(
        None,
        "--negative-2",
        metavar="TEXT",
        help="SDXL: negative prompt for the second text encoder. Default: the negative prompt.",
        needs_guidance=True,
    )
    original_size: str | None = setting(
        None,
        "--original-size",
        metavar="WxH",
        help="SDXL: size of the training images to imitate; a small one looks enlarged. "
        "Default: the image's size.",
        sweep=160,
    )
    crop: str | None = setting(
        None,
        "--crop",
        metavar="X,Y",
        help="SDXL: left and top corner of the training crops to imitate; 0,0 centers the "
        "subject. Default: 0,0.",
    )
    target_size: str | None = setting(
        None,
        "--target-size",
        metavar="WxH",
        help="SDXL: size of the training crops to imitate. Default: the image's size.",
        sweep=170,
    )
    refiner_at: float | None = setting(
        None,
        "--refiner-at",
        metavar="F",
        help="0 to 1: the fraction of the run after which the refiner takes over. Default: 0.8.",
        minimum=0,
        maximum=1,
        sweep=180,
        aliases=("refiner_switch_at",),
        a1111="Refiner switch at",
        needs=("refiner",),
    )
    aesthetic_score: float | None = setting(
        None,
        "--aesthetic-score",
        metavar="N",
        help="0 to 10: how pleasing the refiner makes the image. Default: 6.",
        minimum=0,
        maximum=10,
        sweep=190,
        needs=("refiner",),
    )

    def check_xl_values(self) -> None:
        """Normalize the spelling of the texts, and check sizes and corners. Raises UsageError."""
        for name in ("prompt_2", "negative_prompt_2"):
            # As in Diffusers, an empty second prompt stands for the first.
            if getattr(self, name) == "":
                object.__setattr__(self, name, None)
        for name in SIZE_FIELDS:
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _normalize(name, value))


def _normalize(name: str, value: object) -> str:
    """Return a size as "1024x768", a corner as "0,16". Raises UsageError."""
    is_corner = name == "crop"
    text = value if isinstance(value, str) else ""
    numbers = _parse_point(text) if is_corner else parse_size(text)
    if not numbers:
        raise value_error(name, value, f"is not {'X,Y' if is_corner else 'WIDTHxHEIGHT'}")
    least = 0 if is_corner else 1
    if not all(least <= number <= _LARGEST for number in numbers):
        raise value_error(name, value, f"is not between {least} and {_LARGEST}")
    return ("," if is_corner else "x").join(map(str, numbers))


def _parse_point(text: str) -> tuple[int, int] | None:
    match = _POINT.fullmatch(text.strip())
    return (int(match[1]), int(match[2])) if match else None


def parse_pair(text: str) -> tuple[int, int]:
    """Return the two numbers of a checked size or corner, in their order."""
    first, second = re.split("[x,]", text)
    return int(first), int(second)
