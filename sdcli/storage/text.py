"""Text from strangers, made fit for a terminal and for a file name."""

from __future__ import annotations

import re
import unicodedata

_LONGEST_SLUG = 48
_HIDDEN = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Marks that reorder what a terminal shows."""


def printable(text: str) -> str:
    """The text with control characters, line ends but "\\n", and reordering marks as escapes."""
    return "".join(_escaped(char) if _acts(char) else char for char in text)


def one_line(text: str) -> str:
    """`printable`, and line ends escaped too."""
    return printable(text).replace("\n", "\\n")


def slug(text: str) -> str:
    """The words of the text as the middle of a file name: lower case, no sign, never empty."""
    words = re.sub(r"[\W_]+", "-", unicodedata.normalize("NFKC", text).lower()).strip("-")
    if len(words) > _LONGEST_SLUG:
        words = words[: _LONGEST_SLUG + 1].rpartition("-")[0] or words[:_LONGEST_SLUG]
    return words or "image"


def _acts(char: str) -> bool:
    return char != "\n" and (
        unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") or char in _HIDDEN
    )


def _escaped(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
