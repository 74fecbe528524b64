"""JSON lines: an object a line, or only a prompt in quotes."""

from __future__ import annotations

import json
from collections.abc import Iterable

from sdcli.errors import UsageError
from sdcli.prompts.entry import (
    EntryIterator,
    PromptEntry,
    SourceLocation,
    check_utf8,
    located_error,
)
from sdcli.prompts.readers.json_locations import json_fault, json_offsets
from sdcli.prompts.readers.locations import nearest_location


def read_json_lines(lines: Iterable[str], file: str) -> EntryIterator:
    """A request a line; empty lines are none."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            yield None
            continue
        place = SourceLocation(file, number, len(line) - len(line.lstrip()) + 1)
        yield check_utf8(line, place) or _entry(line.rstrip("\r\n"), place)


def _entry(line: str, place: SourceLocation) -> PromptEntry | UsageError:
    try:
        value = strict_loads(line)
    except json.JSONDecodeError as error:
        return located_error(place.at(error.colno), f"not JSON: {error.msg}")
    except (ValueError, RecursionError) as error:
        what, offset = json_fault(line, error)
        return located_error(place.at(offset + 1), f"not JSON: {what}")
    return to_entry(value, place, lambda name: place.at(column_of(line, name)))


def to_entry(
    value: object, place: SourceLocation, locate: object = None
) -> PromptEntry | UsageError:
    """The entry that a JSON, YAML or TOML value is."""
    if isinstance(value, str):
        return PromptEntry(fields={"prompt": value}, location=place)
    if not isinstance(value, dict):
        return located_error(place, "not a request", hint='as in {"prompt": "a cat", "steps": 20}')
    if names := [name for name in value if not isinstance(name, str)]:
        return located_error(place, f"{names[0]!r} is no name of a field", hint="put it in quotes")
    return PromptEntry(fields=value, location=place, locate=locate if callable(locate) else None)


def strict_loads(text: str) -> object:
    """JSON in which every name stands once. Raises ValueError."""
    return json.loads(text, object_pairs_hook=reject_duplicate_keys, parse_constant=_refuse)


def reject_duplicate_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """The object, unless a name is in it twice: the first would be lost without a word."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} is there twice")
    return fields


def column_of(line: str, name: str) -> int:
    """The column of a field in a line of JSON, of the line's first sign when it has no such."""
    return nearest_location(json_offsets(line), (name,), 0) + 1


def _refuse(word: str) -> object:
    raise ValueError(f"{word} is no number")
