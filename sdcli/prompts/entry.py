"""Prompt entries: one request as it is written in a file, with its location."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sdcli.errors import UsageError


class SourceLocation(NamedTuple):
    """A location in a file. Lines and columns count from 1; 0 means unknown."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return ":".join([self.file, *(str(n) for n in (self.line, self.column) if n)])

    def at_column(self, column: int) -> SourceLocation:
        """Return another column of the same line."""
        return SourceLocation(self.file, self.line, column)


# Not frozen: that takes twice as long to make, and a file may have a million.
@dataclass(kw_only=True)
class PromptEntry:
    """The fields of one request, with the names and values that the file uses.

    `is_text` marks the formats whose values are all text, where "20" is a number. `locate` returns
    the location of a field; it may be slow, and is only called to report an error. An entry with
    `faults` is invalid, and `fields` holds the part of it that could be read. `notes` are sentences
    to tell the user about how the file is read. `extra` has the columns that are no fields, as JSON
    values. An entry that `is_plain` is a prompt without names; one that `is_defaults` is not a
    request.
    """

    fields: Mapping[str, object]
    location: SourceLocation
    is_text: bool = False
    locate: Callable[[str], SourceLocation] | None = field(default=None, compare=False)
    faults: Sequence[UsageError] = ()
    notes: Sequence[str] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    is_plain: bool = False
    is_defaults: bool = False

    def location_of(self, name: str) -> SourceLocation:
        """Return the location of a field, by its name in the file, or that of the entry."""
        return self.locate(name) if self.locate else self.location


EntryIterator = Iterator[PromptEntry | UsageError | None]
"""The result of a reader: entries, errors of unreadable ones, None for lines without an entry.

The None lets a stream see that a line was read, instead of waiting for the next entry.
"""

Reader = Callable[[Iterable[str], str], EntryIterator]
"""A reader of one format: takes lines, with their line ends, and the name of the file."""


def located_error(
    location: SourceLocation,
    message: str,
    *,
    code: str = "usage.prompt_file",
    hint: str | None = None,
) -> UsageError:
    """Build an error of a prompt file: `file:line:column: message`."""
    return UsageError(f"{location}: {message}", code=code, hint=hint)


def relocated_error(location: SourceLocation, error: UsageError) -> UsageError:
    """Build the same error with a location in front of its message."""
    return located_error(location, error.message, code=error.code, hint=error.hint)
