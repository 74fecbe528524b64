"""What every reader yields: one request as it is written, and where."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sdcli.errors import UsageError

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class SourceLocation:
    """Where something stands in a file; lines and columns count from 1, 0 is "not known"."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return ":".join([self.file, *(str(n) for n in (self.line, self.column) if n)])

    def at(self, column: int) -> SourceLocation:
        """The same line at another column."""
        return SourceLocation(self.file, self.line, column)


@dataclass(frozen=True, kw_only=True)
class PromptEntry:
    """The fields of one request by the names and with the values that the file gives them.

    `is_text`: the format knows only text, so "20" is a number. `locate` says where a field stands
    and is asked only when something is wrong with it. With `faults` it is no request, and the
    fields are what could be read all the same.
    """

    fields: Mapping[str, object]
    location: SourceLocation
    is_text: bool = False
    locate: Callable[[str], SourceLocation] | None = field(default=None, compare=False)
    faults: Sequence[UsageError] = ()

    def location_of(self, name: str) -> SourceLocation:
        """Where the field with this written name stands, at worst where the entry begins."""
        return self.locate(name) if self.locate else self.location


EntryIterator = Iterator[PromptEntry | UsageError | None]
"""What a reader yields: an entry, a broken one, or None for lines that hold no entry."""

Reader = Callable[[Iterable[str], str], EntryIterator]
"""A format: whole lines with their ends, and the name of the file, to its entries."""


def located_error(
    place: SourceLocation, what: str, *, code: str = "usage.prompt_file", hint: str | None = None
) -> UsageError:
    """An error of a prompt file: `file:line:column: what`."""
    return UsageError(f"{place}: {what}", code=code, hint=hint)


def check_utf8(text: str, place: SourceLocation) -> UsageError | None:
    """The fault of a line with bytes that are not UTF-8."""
    offset = invalid_utf8_offset(text)
    return None if offset is None else utf8_error(place.at(offset + 1))


def invalid_utf8_offset(text: str) -> int | None:
    """The offset of the first byte that is not UTF-8: it came through as a lone surrogate."""
    match = None if text.isascii() else _SURROGATE.search(text)
    return match.start() if match else None


def utf8_error(place: SourceLocation) -> UsageError:
    """The fault of such a byte."""
    return located_error(place, "not UTF-8", hint="save the file as UTF-8")
