"""From offsets in a text to lines and columns, for documents whose parsers do not tell."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from typing import TypeVar

from sdcli.prompts.entry import SourceLocation

Offset = TypeVar("Offset")
Path = tuple[str | int, ...]
"""The way to a value in a document: names of objects, indices of lists."""


class LineIndex:
    """The lines of a text that is a file's."""

    def __init__(self, text: str, file: str) -> None:
        self._file = file
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def location(self, offset: int) -> SourceLocation:
        """The line and the column of an offset."""
        line = bisect_right(self._starts, offset)
        return SourceLocation(self._file, line, offset - self._starts[line - 1] + 1)


def nearest_location(places: Mapping[Path, Offset], path: Path, otherwise: Offset) -> Offset:
    """Where a value is, or the nearest one around it of which that is known."""
    while path and path not in places:
        path = path[:-1]
    return places.get(path, otherwise)
