"""Read JSON Lines: one object or one quoted prompt per line."""

from __future__ import annotations

from collections.abc import Iterable

from sdcli.errors import UsageError
from sdcli.prompts.encoding import check_text
from sdcli.prompts.entry import EntryIterator, PromptEntry, SourceLocation, located_error
from sdcli.prompts.readers.documents import to_entry
from sdcli.prompts.readers.json_locations import json_offsets
from sdcli.prompts.readers.json_parser import JsonError, strict_loads
from sdcli.prompts.readers.locations import nearest_location
from sdcli.prompts.readers.syntax_hints import json_line_hint


def read_json_lines(lines: Iterable[str], file: str) -> EntryIterator:
    """Read one request per line; blank lines are skipped."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            yield None
            continue
        location = SourceLocation(file, number, len(line) - len(line.lstrip()) + 1)
        yield check_text(line, location) or _read_line(line.rstrip("\n"), location)


def _read_line(line: str, location: SourceLocation) -> PromptEntry | UsageError:
    try:
        value = strict_loads(line)
    except JsonError as error:
        hint = json_line_hint(line, error.offset, str(error))
        place = location.at_column(error.offset + 1)
        return located_error(place, f"invalid JSON: {error}", hint=hint)

    def locate(name: str) -> SourceLocation:
        return location.at_column(nearest_location(json_offsets(line), (name,), 0) + 1)

    return to_entry(value, location, locate)
