"""Tell whether a prompt has syntax at all."""

from __future__ import annotations

import re
from typing import Final

_SYNTAX: Final = re.compile(r"[()\[\]\\]|\b(?:BREAK|AND)\b")
AND: Final = re.compile(r"\bAND\b")


def has_syntax(prompt: str) -> bool:
    """Return whether a prompt has characters or words that may be more than words."""
    return _SYNTAX.search(prompt) is not None


def has_and(prompt: str) -> bool:
    """Return whether a prompt combines several."""
    return "AND" in prompt and AND.search(prompt) is not None
