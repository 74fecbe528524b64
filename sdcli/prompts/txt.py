"""Text: a prompt a line, alone or with options in the manner of A1111 and of kohya.

a cat
a cat --n a dog --w 64 --h 64 --d 7 --s 20 --l 3
--prompt "a cat" --negative_prompt "a dog" --steps 20 --sampler_name "Euler a"
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from sdcli.errors import UsageError
from sdcli.prompts.entry import Entry, Place, Reading, fault, undecodable

_SHORT: Final[Mapping[str, str]] = {
    "n": "negative_prompt",
    "w": "width",
    "h": "height",
    "d": "seed",
    "s": "steps",
    "l": "guidance",
    "ss": "scheduler",
}
"""kohya's letters."""

_OPTION = re.compile(r"(?:^|(?<=\s))--([A-Za-z][\w-]*)(?=\s|=|$)")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"|\'([^\']*)\'', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


def read(lines: Iterable[str], file: str) -> Reading:
    """The prompts of a text file. Empty lines and those that begin with # are none.

    A line of options alone, before the first prompt, sets defaults. Only a value in quotes may
    contain what looks like an option; in double quotes a backslash saves the next sign.
    """
    for number, line in enumerate(lines, 1):
        text = line.rstrip("\r\n")
        start = len(text) - len(text.lstrip()) + 1
        if not text.strip() or text.lstrip().startswith("#"):
            yield undecodable(text, Place(file, number))
            continue
        place = Place(file, number, start)
        yield undecodable(text, place) or _entry(text, place)


def plain(lines: Iterable[str], file: str) -> Reading:
    """A prompt a line and nothing else: no options are looked for."""
    for number, line in enumerate(lines, 1):
        text = line.strip()
        place = Place(file, number)
        if not text or text.startswith("#"):
            yield undecodable(text, place)
        else:
            yield undecodable(text, place) or Entry(fields={"prompt": text}, place=place)


@dataclass(frozen=True)
class _Option:
    name: str
    value: str
    place: Place


def _entry(text: str, place: Place) -> Entry | UsageError:
    fields: dict[str, object] = {}
    places: dict[str, Place] = {}
    try:
        for option in _options(text, place):
            name = _SHORT.get(option.name, option.name)
            if name in fields:
                return fault(option.place, f"--{option.name} is said twice")
            fields[name], places[name] = option.value, option.place
    except UsageError as error:
        return error
    return Entry(
        fields=fields, place=place, is_text=True, locate=lambda name: places.get(name, place)
    )


def _options(text: str, place: Place) -> Iterator[_Option]:
    """The words before the first option as the prompt, then every option with its value."""
    at = _next_option(text, 0)
    prompt = text[: at.start() if at else len(text)].strip()
    if prompt:
        yield _Option("prompt", prompt, place)
    while at:
        value_start = at.end() + (text[at.end() : at.end() + 1] == "=")
        following = _next_option(text, value_start)
        end = following.start() if following else len(text)
        here = place.at(at.start() + 1)
        yield _Option(at[1], _value(text[value_start:end], at[1], place, value_start), here)
        at = following


def _next_option(text: str, start: int) -> re.Match[str] | None:
    """The next option that is not inside of a quoted value, which must be a value's first sign."""
    first = re.compile(r"\s*").match(text, start)
    begin = first.end() if first else start
    if start and (quoted := _QUOTED.match(text, begin)):
        start = quoted.end()
    return _OPTION.search(text, start)


def _value(raw: str, name: str, place: Place, start: int) -> str:
    value = raw.strip()
    column = start + len(raw) - len(raw.lstrip()) + 1
    if not value:
        raise fault(place.at(start + 1), f"--{name} has no value")
    if value[0] not in "\"'":
        return value
    match = _QUOTED.match(value)
    if not match:
        raise fault(place.at(column), f"--{name}: the quote is not closed")
    if rest := value[match.end() :].lstrip():
        column += len(value) - len(rest)
        raise fault(place.at(column), f"--{name}: {rest!r} after the closing quote")
    return match[2] if match[1] is None else _ESCAPE.sub(r"\1", match[1])
