"""Make untrusted text safe for terminals and file names."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_MAX_SLUG: Final = 48
_BIDI_MARKS: Final = frozenset(
    "\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
"""Characters that reorder the text around them."""
_CONTROL_CATEGORIES: Final = ("Cc", "Cs", "Zl", "Zp")
"""Unicode categories of control characters, surrogates, and line and paragraph separators."""


def printable(text: str) -> str:
    """Escape control characters and bidirectional marks, but keep "\\n"."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(char) if _is_control(char) else char for char in text)


def one_line(text: str) -> str:
    """Escape control characters and bidirectional marks, with "\\n"."""
    return printable(text).replace("\n", "\\n")


def slug(text: str) -> str:
    """Convert text to a part of a file name: lower case words joined by "-", never empty.

    It has at most 48 characters, and is cut between words where that is possible.
    """
    words = re.sub(r"[\W_]+", "-", unicodedata.normalize("NFKC", text).lower()).strip("-")
    if len(words) > _MAX_SLUG:
        # The extra character shows whether the limit falls on the end of a word.
        words = words[: _MAX_SLUG + 1].rpartition("-")[0] or words[:_MAX_SLUG]
    return words or "image"


def _is_control(char: str) -> bool:
    return char != "\n" and (
        unicodedata.category(char) in _CONTROL_CATEGORIES or char in _BIDI_MARKS
    )


def _escape(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
