"""Convert offsets in a document to lines and columns, for parsers that keep no locations."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from typing import TypeVar

from sdcli.prompts.entry import SourceLocation

Location = TypeVar("Location")
Path = tuple[str | int, ...]
"""The path of a value in a document: the names of objects and the indices of lists."""


class LineIndex:
    """The starts of the lines of a file's text."""

    def __init__(self, text: str, file: str) -> None:
        self._file = file
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def location(self, offset: int) -> SourceLocation:
        """Return the line and the column of an offset."""
        line = bisect_right(self._starts, offset)
        return SourceLocation(self._file, line, offset - self._starts[line - 1] + 1)


def nearest_location(locations: Mapping[Path, Location], path: Path, default: Location) -> Location:
    """Return the location of a value, or of the nearest value around it that has one."""
    while path and path not in locations:
        path = path[:-1]
    return locations.get(path, default)
