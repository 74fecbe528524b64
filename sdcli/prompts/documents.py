"""JSON, YAML and TOML documents: a list of requests, or their defaults and the requests."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Final

from sdcli.errors import UsageError
from sdcli.prompts.entry import Entry, Place, Reading, fault, undecodable
from sdcli.prompts.json_lines import entry_of, loads

REQUESTS: Final = "requests"
DEFAULTS: Final = "defaults"

Path = tuple[str | int, ...]
Locate = Callable[[Path], Place]

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],]')
_TOML_ERROR = re.compile(r"(?P<what>.*) \(at line (?P<line>\d+), column (?P<column>\d+)\)")


def read_json(lines: Iterable[str], file: str) -> Reading:
    """A JSON document, held in memory as a whole."""
    text = "".join(lines)
    if problem := broken_text(text, file):
        yield problem
        return
    try:
        value = loads(text)
    except json.JSONDecodeError as error:
        yield fault(Place(file, error.lineno, error.colno), f"not JSON: {error.msg}")
    except (ValueError, RecursionError) as error:
        yield fault(Place(file, 1), f"not JSON: {error}")
    else:
        places = _json_places(text)
        yield from entries(value, lambda path: nearest(places, path, file))


def read_toml(lines: Iterable[str], file: str) -> Reading:
    """A TOML document: defaults, then a [[requests]] table each."""
    text = "".join(lines)
    if problem := broken_text(text, file):
        yield problem
        return
    try:
        value = tomllib.loads(text.replace("\r\n", "\n"))
    except (ValueError, RecursionError) as error:
        match = _TOML_ERROR.fullmatch(str(error))
        place = Place(file, int(match["line"]), int(match["column"])) if match else Place(file, 1)
        yield fault(place, f"not TOML: {match['what'] if match else error}")
    else:
        places = _toml_places(text)
        yield from entries(value, lambda path: nearest(places, path, file))


def entries(value: object, locate: Locate) -> Iterator[Entry | UsageError]:
    """The requests of a document: a list, one request, or an object with `requests`."""
    if isinstance(value, dict) and REQUESTS in value:
        yield from _with_defaults(value, locate)
    elif isinstance(value, list):
        yield from (_item(item, (i,), locate) for i, item in enumerate(value))
    else:
        yield _item(value, (), locate)


def _with_defaults(value: Mapping[str, object], locate: Locate) -> Iterator[Entry | UsageError]:
    beside = {name: item for name, item in value.items() if name not in (REQUESTS, DEFAULTS)}
    for fields, path in ((beside, ()), (value.get(DEFAULTS, {}), (DEFAULTS,))):
        entry = _item(fields, path, locate)
        if isinstance(entry, Entry) and "prompt" in entry.fields:
            yield fault(locate((*path, "prompt")), f"a prompt beside {REQUESTS!r}, not inside")
        elif isinstance(entry, UsageError) or entry.fields:
            yield entry
    requests = value[REQUESTS]
    if not isinstance(requests, list):
        yield fault(locate((REQUESTS,)), f"{REQUESTS!r} is not a list")
        return
    yield from (_item(item, (REQUESTS, i), locate) for i, item in enumerate(requests))


def _item(value: object, path: Path, locate: Locate) -> Entry | UsageError:
    return entry_of(value, locate(path), lambda name: locate((*path, name)))


def broken_text(text: str, file: str) -> UsageError | None:
    """The fault of a text that is not UTF-8 everywhere."""
    for number, line in enumerate(text.split("\n"), 1):
        if problem := undecodable(line, Place(file, number)):
            return problem
    return None


def nearest(places: Mapping[Path, tuple[int, int]], path: Path, file: str) -> Place:
    """The place of a value, or of the nearest one around it whose place is known."""
    while path and path not in places:
        path = path[:-1]
    return Place(file, *places.get(path, (1, 0)))


def _json_places(text: str) -> dict[Path, tuple[int, int]]:
    """Where the values of a valid JSON text begin, down to the fields of the requests."""
    starts = [0, *accumulate(len(line) for line in text.splitlines(keepends=True))]
    places: dict[Path, tuple[int, int]] = {}
    path: list[str | int] = []
    is_key, line = False, 1
    for token in _TOKEN.finditer(text):
        while line < len(starts) and starts[line] <= token.start():
            line += 1
        here = (line, token.start() - starts[line - 1] + 1)
        match token[0][0]:
            case "{" | "[" as opening:
                places.setdefault(tuple(path), here)
                path.append("" if opening == "{" else 0)
                is_key = opening == "{"
            case "}" | "]":
                path.pop()
                is_key = False
            case ",":
                last = path[-1]
                is_key = isinstance(last, str)
                path[-1] = "" if isinstance(last, str) else last + 1
            case _ if is_key:
                path[-1] = json.loads(token[0])
                places[tuple(path)] = here
                is_key = False
            case _:
                places.setdefault(tuple(path), here)
    return places


def _toml_places(text: str) -> dict[Path, tuple[int, int]]:
    """Where tables and their keys probably begin; strings of several lines may look like some."""
    places: dict[Path, tuple[int, int]] = {}
    table: Path = ()
    count = 0
    for number, line in enumerate(text.split("\n"), 1):
        if re.match(rf"\s*\[\[\s*{REQUESTS}\s*\]\]", line):
            table, count = (REQUESTS, count), count + 1
            places[table] = (number, 1)
        elif re.match(rf"\s*\[\s*{DEFAULTS}\s*\]", line):
            table = (DEFAULTS,)
            places[table] = (number, 1)
        elif key := re.match(r"\s*\"?([\w-]+)\"?\s*=", line):
            places.setdefault((*table, key[1]), (number, key.start(1) + 1))
    return places
