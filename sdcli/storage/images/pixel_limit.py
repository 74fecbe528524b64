"""Limit the number of pixels that are decoded from one image."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from sdcli.config import MAX_PIXELS, VARIABLE_PREFIX
from sdcli.errors import UsageError

VARIABLE: Final = f"{VARIABLE_PREFIX}{MAX_PIXELS.upper()}"
DEFAULT_MAX_PIXELS: Final = 8192 * 8192
"""Decoding takes about 12 bytes a pixel: 0.8 GB. No model here draws or encodes more at once."""


def max_pixels() -> int:
    """Return the limit: SDCLI_MAX_PIXELS if set. Raises UsageError unless that is a count."""
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return DEFAULT_MAX_PIXELS
    if not (text.isascii() and text.isdecimal() and len(text) < 16 and int(text)):
        raise UsageError(
            f"{VARIABLE}: {text!r} is not a number of pixels",
            code="usage.max_pixels",
            hint=f"as in {VARIABLE}={4 * DEFAULT_MAX_PIXELS}",
        )
    return int(text)


def exceeds_limit(width: int, height: int) -> bool:
    """Whether an image has more pixels than the limit."""
    return width * height > max_pixels()


def check_pixel_count(path: Path, width: int, height: int) -> None:
    """Raise UsageError for an image with more pixels than the limit."""
    if exceeds_limit(width, height):
        problem = f"its {width}x{height} pixels exceed the limit of {max_pixels()}"
        raise too_large_error(path, problem, needed=width * height)


def too_large_error(path: Path, problem: str, needed: int | None = None) -> UsageError:
    """Build the error for an image over the limit, which is a setting and no damage."""
    return UsageError(
        f"{path}: {problem}",
        code="image.too_large",
        hint=f"if you trust the file, raise the limit: {VARIABLE}={needed}"
        if needed
        else "scale the image down first",
    )
