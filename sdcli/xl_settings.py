"""Describe the settings of an image that only Stable Diffusion XL has."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from sdcli.field_metadata import setting
from sdcli.field_validation import check_text, value_error

REFINER_AT: Final = 0.8
"""Fraction of a run after which the refiner takes over, unless it is set."""

AESTHETIC_SCORE: Final = 6.0
"""Score that a refiner aims at, unless it is set: the default of Diffusers."""

SIZE_FIELDS: Final = ("original_size", "crop", "target_size")

_SIZE: Final = re.compile(r"([0-9]{1,5})[x\u00d7X]([0-9]{1,5})")
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
    )

    def check_xl_values(self) -> None:
        """Check the texts, and normalize their spelling. Raises UsageError."""
        for name, label in (("prompt_2", "prompt_2"), ("negative_prompt_2", _NEGATIVE_LABEL)):
            check_text(label, getattr(self, name), optional=True, empty=True)
            # As in Diffusers, an empty second prompt stands for the first.
            object.__setattr__(self, name, getattr(self, name) or None)
        for name in SIZE_FIELDS:
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _normalize(name, value))


_NEGATIVE_LABEL: Final = "negative_prompt_2 (--negative-2)"


def _normalize(name: str, value: object) -> str:
    """Return a size as "1024x768", a corner as "0,16". Raises UsageError."""
    is_corner = name == "crop"
    pattern, form = (_POINT, "X,Y") if is_corner else (_SIZE, "WIDTHxHEIGHT")
    match = pattern.fullmatch(value.strip()) if isinstance(value, str) else None
    if not match:
        raise value_error(name, value, f"is not {form}")
    numbers = int(match[1]), int(match[2])
    least = 0 if is_corner else 1
    if not all(least <= number <= _LARGEST for number in numbers):
        raise value_error(name, value, f"is not between {least} and {_LARGEST}")
    return ("," if is_corner else "x").join(map(str, numbers))


def parse_pair(text: str) -> tuple[int, int]:
    """Return the two numbers of a checked size or corner, in their order."""
    first, second = re.split("[x,]", text)
    return int(first), int(second)
