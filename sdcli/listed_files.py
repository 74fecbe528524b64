"""Write several files of one image as one text, and split it again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

NONE: Final = "none"
SEPARATOR: Final = ";"
"""Between the files of one image."""


def split_files(text: str | None) -> tuple[str, ...]:
    """Return the files of one image: "a.png;b.png". None, "" and "none" are no files."""
    parts = [] if text is None else [part.strip() for part in text.split(SEPARATOR)]
    return tuple(part for part in parts if part.lower() not in ("", NONE))


def join_files(parts: Iterable[object]) -> str | None:
    """Write the files of one image, None for none."""
    return SEPARATOR.join(map(str, parts)) or None
