"""Describe the fields of requests and jobs that redraw an enlarged image (--hires)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from sdcli.errors import UsageError, quoted
from sdcli.field_metadata import field_infos, setting
from sdcli.field_validation import check_text
from sdcli.inputs.sizes import parse_size

DEFAULT_HIRES_STRENGTH: Final = 0.3
LATENT, LANCZOS = "latent", "lanczos"
HIRES_UPSCALERS: Final = (LATENT, LANCZOS)

_FACTOR = re.compile(r"([0-9]{1,2}(?:\.[0-9]{1,4})?) ?[x×X]?")
_LARGEST_FACTOR: Final = 16
_LARGEST_SIDE: Final = 16384
_CELL: Final = 8


@dataclass(frozen=True, kw_only=True)
class HiresRequestFields:
    """The fields of a request for a second pass. `hires` is "2x", or a size, "1024x768"."""

    hires: str | None = setting(
        None,
        "--hires",
        metavar="FACTOR",
        help="Enlarge the image and redraw it at that size: a factor such as 2x, or a size WxH.",
        sweep=82,
        aliases=("hires_fix", "hr_scale"),
    )
    hires_strength: float | None = setting(
        None,
        "--hires-strength",
        metavar="F",
        help="0 to 1: how much of the enlarged image to change.",
        minimum=0,
        maximum=1,
        sweep=84,
        resolved=DEFAULT_HIRES_STRENGTH,
        needs=("hires",),
    )
    hires_steps: int | None = setting(
        None,
        "--hires-steps",
        metavar="N",
        help="Steps of the schedule of the second pass, which runs the last part of them. "
        "Default: as --steps.",
        minimum=1,
        maximum=1000,
        sweep=86,
        aliases=("hr_second_pass_steps",),
        a1111="Hires steps",
        needs=("hires",),
    )
    hires_upscaler: str | None = setting(
        None,
        "--hires-upscaler",
        help="Enlarge the pixels (lanczos), or the latents, which needs a higher --hires-strength.",
        choices=HIRES_UPSCALERS,
        sweep=88,
        aliases=("hr_upscaler",),
        resolved=LANCZOS,
        needs=("hires",),
    )

    def check_hires_fields(self) -> None:
        """Check `hires`, and normalize its spelling. Raises UsageError."""
        check_text("hires", self.hires, optional=True)
        if self.hires is not None:
            # The dataclass is frozen.
            object.__setattr__(self, "hires", normalize_hires(self.hires))


HIRES_FIELDS: Final = field_infos(HiresRequestFields)
"""The FieldInfo of each of these fields, by name."""


@dataclass(frozen=True, kw_only=True)
class HiresJobFields:
    """The fields of a job with a second pass; without one, `hires` is None."""

    hires: str | None = None
    hires_strength: float = DEFAULT_HIRES_STRENGTH
    hires_steps: int | None = None
    hires_upscaler: str = LANCZOS


def normalize_hires(text: str) -> str:
    """Return a factor as "2x", a size as "1024x768". Raises UsageError."""
    word = text.strip()
    if sides := parse_size(word):
        if all(_CELL <= side <= _LARGEST_SIDE for side in sides):
            return f"{sides[0]}x{sides[1]}"
    elif (match := _FACTOR.fullmatch(word)) and 1 < float(match[1]) <= _LARGEST_FACTOR:
        return f"{float(match[1]):g}x"
    raise UsageError(
        f"hires: {quoted(text)} is neither a factor above 1 and up to {_LARGEST_FACTOR} nor a size "
        "WIDTHxHEIGHT",
        code="usage.hires",
        hint="e.g. --hires 2x, or --hires 1024x768",
    )


def hires_size(hires: str, width: int, height: int) -> tuple[int, int]:
    """Return the size of the second pass; a factor gives the nearest multiples of 8."""
    first, _, second = hires.partition("x")
    if second:
        return int(first), int(second)
    factor = float(first)
    return _to_cells(width * factor), _to_cells(height * factor)


def _to_cells(side: float) -> int:
    # Python's round() takes halves to the even number, not up.
    return max(_CELL, int(side / _CELL + 0.5) * _CELL)
