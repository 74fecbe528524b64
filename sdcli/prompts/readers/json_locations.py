"""Find the offsets of keys and values in a JSON text, which Python's parser does not report."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sdcli.prompts.readers.locations import Path

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],]|[^\s{}\[\],:"]+')
_CONSTANTS: Final = ("NaN", "Infinity", "-Infinity")
_MAX_DIGITS: Final = 4300  # Python's limit for int(), a protection against quadratic time


@dataclass(frozen=True)
class _Token:
    """A key, a value, or the bracket that opens one."""

    path: Path
    offset: int
    text: str
    is_key: bool


def json_offsets(text: str) -> dict[Path, int]:
    """Return the offset of each value: of an item itself, of the key of a field."""
    offsets: dict[Path, int] = {}
    for token in _tokens(text):
        offsets.setdefault(token.path, token.offset)
    return offsets


def find_rejected_token(text: str) -> tuple[str, int] | None:
    """Find a duplicate key, NaN, an infinity or endless digits: the message and the offset."""
    keys: set[Path] = set()
    for token in _tokens(text):
        if token.is_key:
            if token.path in keys:
                return f"duplicate key {token.path[-1]!r}", token.offset
            keys.add(token.path)
        elif token.text in _CONSTANTS:
            return f"{token.text} is not a valid number", token.offset
        elif token.text[0] != '"' and len(token.text) > _MAX_DIGITS:
            return f"number with {len(token.text)} digits is too large", token.offset
    return None


def _tokens(text: str) -> Iterator[_Token]:
    """Yield the keys and values in their order; the text must be valid as far as it is read."""
    path: list[str | int] = []
    is_key = False
    for match in _TOKEN.finditer(text):
        word = match[0]
        if word in ("{", "["):
            yield _Token(tuple(path), match.start(), word, is_key=False)
            path.append("" if word == "{" else 0)
            is_key = word == "{"
        elif word in ("}", "]"):
            del path[-1:]
            is_key = False
        elif word == ",":
            is_key = _advance(path)
        elif is_key:
            path[-1:] = [json.loads(word)]
            yield _Token(tuple(path), match.start(), word, is_key=True)
            is_key = False
        else:
            yield _Token(tuple(path), match.start(), word, is_key=False)


def _advance(path: list[str | int]) -> bool:
    """Move a path to the next item of its list. Returns whether a key comes next instead."""
    last = path[-1] if path else ""
    if isinstance(last, int):
        path[-1] = last + 1
    return isinstance(last, str)
