"""Where the keys and values of a JSON text are, which its parser does not tell."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from sdcli.prompts.readers.locations import Path

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],]|[^\s{}\[\],:"]+')
_CONSTANTS = ("NaN", "Infinity", "-Infinity")
_LONGEST_NUMBER = 4300  # digits, which is what Python converts


@dataclass(frozen=True)
class _Part:
    path: Path
    offset: int
    text: str
    is_key: bool


def json_offsets(text: str) -> dict[Path, int]:
    """Where each value begins: the item of a list at its own place, a field at its name."""
    found: dict[Path, int] = {}
    for part in _parts(text):
        found.setdefault(part.path, part.offset)
    return found


def json_fault(text: str, error: Exception) -> tuple[str, int]:
    """What is wrong with a text whose grammar was good so far, and the offset of it."""
    if isinstance(error, RecursionError):
        return "nested too deeply", 0
    return _oddity(text) or (str(error), 0)


def _oddity(text: str) -> tuple[str, int] | None:
    """What the grammar allows and we do not: a name twice, NaN, endless digits."""
    seen: set[Path] = set()
    for part in _parts(text):
        if part.is_key:
            if part.path in seen:
                return f"{part.path[-1]!r} is there twice", part.offset
            seen.add(part.path)
        elif part.text in _CONSTANTS:
            return f"{part.text} is no number", part.offset
        elif part.text[0] != '"' and len(part.text) > _LONGEST_NUMBER:
            return f"a number of {len(part.text)} digits is too large", part.offset
    return None


def _parts(text: str) -> Iterator[_Part]:
    """The keys and values of a text whose beginning is valid, in their order."""
    path: list[str | int] = []
    is_key = False
    for token in _TOKEN.finditer(text):
        word = token[0]
        if word in ("{", "["):
            yield _Part(tuple(path), token.start(), word, False)
            path.append("" if word == "{" else 0)
            is_key = word == "{"
        elif word in ("}", "]"):
            del path[-1:]
            is_key = False
        elif word == ",":
            last = path[-1] if path else ""
            is_key = isinstance(last, str)
            path[-1:] = [last if isinstance(last, str) else last + 1]
        elif is_key:
            path[-1:] = [json.loads(word)]
            yield _Part(tuple(path), token.start(), word, True)
            is_key = False
        else:
            yield _Part(tuple(path), token.start(), word, False)
