"""Find the offsets of keys and values in a TOML text, which tomllib does not report."""

from __future__ import annotations

import re
from collections import Counter

from sdcli.prompts.readers.locations import Path

_NAME = r"""(?:[\w-]+|"[^"\n]*"|'[^'\n]*')"""
_DOTTED_NAME = rf"{_NAME}(?:[ \t]*\.[ \t]*{_NAME})*"
_HEADER = re.compile(rf"[ \t]*(\[\[?)[ \t]*({_DOTTED_NAME})[ \t]*\]")
_KEY = re.compile(rf"[ \t]*({_DOTTED_NAME})[ \t]*=[ \t]*")
_SEPARATOR = re.compile(r"(?:[\s,]|#[^\n]*)*")  # between items of a list or fields of a table
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?!"")(?:[^"\\\n]|\\.)*"|\'(?!\'\')[^\'\n]*\'',
    re.DOTALL,
)
_BARE_VALUE = re.compile(r"[^\s,\]}#]+")
_LINE = re.compile(r"[^\n]*\n?")


class _UnclosedError(Exception):
    """A bracket or a quote that is not closed."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset


def toml_offsets(text: str) -> dict[Path, int]:
    """Return the offset of each table, field and item of a valid text."""
    return _Scanner(text).scan()


def find_unclosed(text: str) -> int | None:
    """Return the offset of a bracket or quote that is never closed, or None."""
    try:
        toml_offsets(text)
    except _UnclosedError as error:
        return error.offset
    return None


class _Scanner:
    """Collects the offsets of a text. The private methods return the offset that they reach."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._offsets: dict[Path, int] = {}

    def scan(self) -> dict[Path, int]:
        counts: Counter[Path] = Counter()
        table: Path = ()
        at = 0
        while at < len(self._text):
            if header := _HEADER.match(self._text, at):
                table = _split_name(header[2])
                # [[name]] begins the next table of a list.
                if header[1] == "[[":
                    counts[table] += 1
                    table = (*table, counts[table] - 1)
                self._offsets.setdefault(table, header.start(1))
            elif key := _KEY.match(self._text, at):
                at = self._scan_field(key, table)
            at = self._skip(_LINE, at)
        return self._offsets

    def _scan_field(self, key: re.Match[str], table: Path) -> int:
        path = (*table, *_split_name(key[1]))
        # A dotted key creates the tables on its way.
        for length in range(len(table) + 1, len(path) + 1):
            self._offsets.setdefault(path[:length], key.start(1))
        return self._scan_value(key.end(), path)

    def _scan_value(self, at: int, path: Path) -> int:
        match self._text[at : at + 1]:
            case "[":
                return self._scan_list(at, path)
            case "{":
                return self._scan_inline_table(at, path)
            case '"' | "'":
                if not (string := _STRING.match(self._text, at)):
                    raise _UnclosedError(at)
                return string.end()
        return self._skip(_BARE_VALUE, at)

    def _scan_list(self, start: int, path: Path) -> int:
        at, index = self._skip(_SEPARATOR, start + 1), 0
        while not self._closes("]", at, start):
            item_path = (*path, index)
            self._offsets.setdefault(item_path, at)
            # At least one character, or an invalid text could end in an endless loop.
            at = max(at + 1, self._scan_value(at, item_path))
            at, index = self._skip(_SEPARATOR, at), index + 1
        return at + 1

    def _scan_inline_table(self, start: int, path: Path) -> int:
        at = self._skip(_SEPARATOR, start + 1)
        while not self._closes("}", at, start):
            key = _KEY.match(self._text, at)
            at = self._scan_field(key, path) if key else at + 1
            at = self._skip(_SEPARATOR, at)
        return at + 1

    def _closes(self, bracket: str, at: int, start: int) -> bool:
        """Whether the bracket is there. Raises _UnclosedError with `start` at the text's end."""
        if at >= len(self._text):
            raise _UnclosedError(start)
        return self._text[at] == bracket

    def _skip(self, pattern: re.Pattern[str], at: int) -> int:
        match = pattern.match(self._text, at)
        return match.end() if match else at


def _split_name(dotted: str) -> Path:
    return tuple(name.strip("\"'") for name in re.findall(_NAME, dotted))
