"""Read the entries of a parsed JSON, YAML or TOML document."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from sdcli.errors import UsageError
from sdcli.prompts.entry import PromptEntry, SourceLocation, located_error
from sdcli.prompts.readers.locations import Path

REQUESTS: Final = "requests"
DEFAULTS: Final = "defaults"

Locate = Callable[[Path], SourceLocation]

# Top-level names for YAML anchors and remarks, as in Docker Compose files.
_EXTENSION_NAME = re.compile(r"x-", re.IGNORECASE)


def document_entries(value: object, locate: Locate) -> Iterator[PromptEntry | UsageError]:
    """Yield the entries of a document: a list, one request, or an object with `requests`.

    Top-level names that begin with "x-" are ignored. All keys must be text; `locate` returns the
    location of a path.
    """
    if isinstance(value, dict):
        value = {name: item for name, item in value.items() if not _EXTENSION_NAME.match(name)}
    if isinstance(value, dict) and REQUESTS in value:
        yield from _default_entries(value, locate)
        yield from _request_entries(value[REQUESTS], locate)
    elif isinstance(value, list):
        yield from (_entry_at((i,), item, locate) for i, item in enumerate(value))
    else:
        yield _entry_at((), value, locate)


def to_entry(
    value: object, location: SourceLocation, locate: Callable[[str], SourceLocation] | None = None
) -> PromptEntry | UsageError:
    """Convert a parsed value to an entry. Text alone is a prompt."""
    if isinstance(value, str):
        return PromptEntry(fields={"prompt": value}, location=location, is_plain=True)
    if not isinstance(value, dict):
        hint = 'expected for example {"prompt": "a cat", "steps": 20}'
        return located_error(location, "not a request", hint=hint)
    return PromptEntry(fields=value, location=location, locate=locate)


def _default_entries(
    document: Mapping[str, object], locate: Locate
) -> Iterator[PromptEntry | UsageError]:
    """Yield the defaults at the top level of a document and in `defaults`."""
    top_level = {name: item for name, item in document.items() if name not in (REQUESTS, DEFAULTS)}
    for path, fields in (((), top_level), ((DEFAULTS,), document.get(DEFAULTS) or {})):
        entry = _entry_at(path, fields, locate)
        if isinstance(entry, PromptEntry) and "prompt" in entry.fields:
            location = locate((*path, "prompt"))
            yield located_error(location, f"'prompt' must be inside {REQUESTS!r}")
        elif isinstance(entry, UsageError):
            yield entry
        elif entry.fields:
            yield replace(entry, is_defaults=True)


def _request_entries(requests: object, locate: Locate) -> Iterator[PromptEntry | UsageError]:
    if not isinstance(requests, list):
        yield located_error(locate((REQUESTS,)), f"{REQUESTS!r} is not a list")
        return
    yield from (_entry_at((REQUESTS, i), item, locate) for i, item in enumerate(requests))


def _entry_at(path: Path, value: object, locate: Locate) -> PromptEntry | UsageError:
    return to_entry(value, locate(path), lambda name: locate((*path, name)))
