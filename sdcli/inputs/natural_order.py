"""Sort names as people do: 9 before 10."""

from __future__ import annotations

import re


def natural_key(name: str) -> list[tuple[int, int | str]]:
    """Return the key by which a name is sorted, with its numbers as numbers."""
    return [
        (0, int(part)) if part.isdecimal() else (1, part)
        for part in re.split(r"(\d+)", name)
        if part
    ]
