"""Where the keys and values of a TOML text are, which its parser does not tell."""

from __future__ import annotations

import re
from collections import Counter

from sdcli.prompts.readers.locations import Path

_WORD = r"""(?:[\w-]+|"[^"\n]*"|'[^'\n]*')"""
_NAME = rf"{_WORD}(?:[ \t]*\.[ \t]*{_WORD})*"
_HEADER = re.compile(rf"[ \t]*(\[\[?)[ \t]*({_NAME})[ \t]*\]")
_KEY = re.compile(rf"[ \t]*({_NAME})[ \t]*=[ \t]*")
_BETWEEN = re.compile(r"(?:[\s,]|#[^\n]*)*")  # the items of a list or the fields of a table
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?!"")(?:[^"\\\n]|\\.)*"|\'(?!\'\')[^\'\n]*\'',
    re.DOTALL,
)
_PLAIN = re.compile(r"[^\s,\]}#]+")
_LINE = re.compile(r"[^\n]*\n?")

Offsets = dict[Path, int]


class _Unclosed(Exception):
    """A bracket or a quote without its end."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset


def toml_offsets(text: str) -> Offsets:
    """Where each table, field and item of a valid text begins."""
    found: Offsets = {}
    counts: Counter[Path] = Counter()
    table: Path = ()
    at = 0
    while at < len(text):
        if header := _HEADER.match(text, at):
            table = _names(header[2])
            if header[1] == "[[":
                counts[table] += 1
                table = (*table, counts[table] - 1)
            found.setdefault(table, header.start(1))
        elif key := _KEY.match(text, at):
            at = _field(text, key, table, found)
        at = _end(_LINE, text, at)
    return found


def unclosed_location(text: str) -> int | None:
    """Where the bracket or the quote is that nothing closes."""
    try:
        toml_offsets(text)
    except _Unclosed as error:
        return error.offset
    return None


def _field(text: str, key: re.Match[str], table: Path, found: Offsets) -> int:
    path = (*table, *_names(key[1]))
    for length in range(len(table) + 1, len(path) + 1):
        found.setdefault(path[:length], key.start(1))
    return _value(text, key.end(), path, found)


def _value(text: str, at: int, path: Path, found: Offsets) -> int:
    """Note what is inside of the value that begins there; where it ends."""
    match text[at : at + 1]:
        case "[":
            return _list(text, at, path, found)
        case "{":
            return _table(text, at, path, found)
        case '"' | "'":
            if not (string := _STRING.match(text, at)):
                raise _Unclosed(at)
            return string.end()
    return _end(_PLAIN, text, at)


def _list(text: str, start: int, path: Path, found: Offsets) -> int:
    at, index = _end(_BETWEEN, text, start + 1), 0
    while text[at : at + 1] != "]":
        if at >= len(text):
            raise _Unclosed(start)
        found.setdefault((*path, index), at)
        at = max(at + 1, _value(text, at, (*path, index), found))
        at, index = _end(_BETWEEN, text, at), index + 1
    return at + 1


def _table(text: str, start: int, path: Path, found: Offsets) -> int:
    at = _end(_BETWEEN, text, start + 1)
    while text[at : at + 1] != "}":
        if at >= len(text):
            raise _Unclosed(start)
        key = _KEY.match(text, at)
        at = _field(text, key, path, found) if key else at + 1
        at = _end(_BETWEEN, text, at)
    return at + 1


def _names(dotted: str) -> Path:
    return tuple(word.strip("\"'") for word in re.findall(_WORD, dotted))


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at
