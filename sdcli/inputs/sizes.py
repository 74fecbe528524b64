"""Read sizes that people write, such as 512x768."""

from __future__ import annotations

import re
from typing import Final

_SIZE: Final = re.compile(r"([0-9]{1,6}) ?[x×X] ?([0-9]{1,6})")


def parse_size(text: str) -> tuple[int, int] | None:
    """Return the width and height that a text such as "512x768" names, None if it names none."""
    match = _SIZE.fullmatch(text.strip())
    return (int(match[1]), int(match[2])) if match else None
