"""JSON, YAML and TOML documents: a list of requests, or their defaults and the requests."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from sdcli.errors import UsageError
from sdcli.prompts.entry import (
    EntryIterator,
    PromptEntry,
    SourceLocation,
    check_utf8,
    located_error,
)
from sdcli.prompts.readers.json_lines import strict_loads, to_entry
from sdcli.prompts.readers.json_locations import json_fault, json_offsets
from sdcli.prompts.readers.locations import LineIndex, Path, nearest_location
from sdcli.prompts.readers.toml_locations import toml_offsets, unclosed_location

REQUESTS: Final = "requests"
DEFAULTS: Final = "defaults"

Locate = Callable[[Path], SourceLocation]

_KEPT = re.compile(r"x-", re.IGNORECASE)
"""Names that begin so, at the top, hold what is only referred to: anchors of YAML, remarks."""

_TOML_ERROR = re.compile(r"(?P<what>.*) \(at line (?P<line>\d+), column (?P<column>\d+)\)")
_TOML_END: Final = " (at end of document)"
_DIGITS = re.compile(r"[0-9_]{4301,}")


def read_json(lines: Iterable[str], file: str) -> EntryIterator:
    """A JSON document, held in memory as a whole."""
    text = "".join(lines)
    if problem := utf8_fault(text, file):
        yield problem
        return
    where = LineIndex(text, file)
    try:
        value = strict_loads(text)
    except json.JSONDecodeError as error:
        yield located_error(
            SourceLocation(file, error.lineno, error.colno), f"not JSON: {error.msg}"
        )
    except (ValueError, RecursionError) as error:
        what, offset = json_fault(text, error)
        yield located_error(where.location(offset), f"not JSON: {what}")
    else:
        places = json_offsets(text)
        yield from document_entries(
            value, lambda path: where.location(nearest_location(places, path, 0))
        )


def read_toml(lines: Iterable[str], file: str) -> EntryIterator:
    """A TOML document: defaults, then a [[requests]] table each."""
    text = "".join(lines).replace("\r\n", "\n")
    if problem := utf8_fault(text, file):
        yield problem
        return
    where = LineIndex(text, file)
    try:
        value = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        yield _not_toml(text, where, file, error)
    else:
        places = toml_offsets(text)
        yield from document_entries(
            value, lambda path: where.location(nearest_location(places, path, 0))
        )


def _not_toml(text: str, where: LineIndex, file: str, error: Exception) -> UsageError:
    told = "nested too deeply" if isinstance(error, RecursionError) else str(error)
    if match := _TOML_ERROR.fullmatch(told):
        place = SourceLocation(file, int(match["line"]), int(match["column"]))
        return located_error(place, f"not TOML: {match['what']}")
    if digits := _DIGITS.search(text):
        what = f"a number of {len(digits[0])} digits is too large"
        return located_error(where.location(digits.start()), f"not TOML: {what}")
    if not told.endswith(_TOML_END):
        return located_error(SourceLocation(file, 1, 1), f"not TOML: {told}")
    offset = unclosed_location(text)
    end = len(text.rstrip("\n")) if offset is None else offset
    return located_error(where.location(end), f"not TOML: {told.removesuffix(_TOML_END)}")


def document_entries(value: object, locate: Locate) -> Iterator[PromptEntry | UsageError]:
    """The requests of a document: a list, one request, or an object with `requests`."""
    if isinstance(value, dict):
        value = {n: v for n, v in value.items() if not (isinstance(n, str) and _KEPT.match(n))}
    if isinstance(value, dict) and REQUESTS in value:
        yield from _with_defaults(value, locate)
    elif isinstance(value, list):
        yield from (_item(item, (i,), locate) for i, item in enumerate(value))
    else:
        yield _item(value, (), locate)


def _with_defaults(
    value: Mapping[str, object], locate: Locate
) -> Iterator[PromptEntry | UsageError]:
    beside = {name: item for name, item in value.items() if name not in (REQUESTS, DEFAULTS)}
    for fields, path in ((beside, ()), (value.get(DEFAULTS) or {}, (DEFAULTS,))):
        entry = _item(fields, path, locate)
        if isinstance(entry, PromptEntry) and "prompt" in entry.fields:
            yield located_error(
                locate((*path, "prompt")), f"a prompt beside {REQUESTS!r}, not inside"
            )
        elif isinstance(entry, UsageError) or entry.fields:
            yield entry
    requests = value[REQUESTS]
    if not isinstance(requests, list):
        yield located_error(locate((REQUESTS,)), f"{REQUESTS!r} is not a list")
        return
    yield from (_item(item, (REQUESTS, i), locate) for i, item in enumerate(requests))


def _item(value: object, path: Path, locate: Locate) -> PromptEntry | UsageError:
    return to_entry(value, locate(path), lambda name: locate((*path, name)))


def utf8_fault(text: str, file: str) -> UsageError | None:
    """The fault of a text that is not UTF-8 everywhere."""
    for number, line in enumerate(text.split("\n"), 1):
        if problem := check_utf8(line, SourceLocation(file, number)):
            return problem
    return None
