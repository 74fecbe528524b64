"""Quotes that were typed, or copied from a page: those that no shell reads, and those it needs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Final

_TYPOGRAPHIC: Final = "“”„‟«»"


def has_typographic_quotes(words: Sequence[str]) -> bool:
    """Whether a word begins or ends with a quote that a shell takes for a letter."""
    return any(word.strip(_TYPOGRAPHIC) != word for word in words)


def quote_words(words: Sequence[str]) -> str:
    """Join words to one argument in a shell's quotes, without typographic ones around a word."""
    return shlex.quote(" ".join(word.strip(_TYPOGRAPHIC) for word in words))
