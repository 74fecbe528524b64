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
from sdcli.prompts.entry import (
    EntryIterator,
    PromptEntry,
    SourceLocation,
    check_utf8,
    located_error,
)
from sdcli.prompts.fields import canonical_field, field_type

_SHORT: Final[Mapping[str, str]] = {
    "n": "negative_prompt",
    "w": "width",
    "h": "height",
    "d": "seed",
    "s": "steps",
    "l": "guidance",
    "ss": "scheduler",
}
"""kohya's letters, of either case."""

_OPTION = re.compile(r"(?:^|(?<=\s))--([A-Za-z][\w-]*)(?=\s|=|$)")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"|\'([^\']*)\'', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


def read_txt(lines: Iterable[str], file: str) -> EntryIterator:
    """The prompts of a text file. Empty lines and those that begin with # are none.

    A line of options alone, before the first prompt, sets defaults. Only a value in quotes may
    contain what looks like an option; in double quotes a backslash saves the next sign.
    """
    for number, line in enumerate(lines, 1):
        text = line.rstrip("\r\n")
        start = len(text) - len(text.lstrip()) + 1
        if not text.strip() or text.lstrip().startswith("#"):
            yield check_utf8(text, SourceLocation(file, number))
            continue
        place = SourceLocation(file, number, start)
        yield check_utf8(text, place) or _entry(text, place)


def read_plain_lines(lines: Iterable[str], file: str) -> EntryIterator:
    """A prompt a line and nothing else: no options are looked for."""
    for number, line in enumerate(lines, 1):
        text = line.strip()
        place = SourceLocation(file, number)
        if not text or text.startswith("#"):
            yield check_utf8(text, place)
        else:
            yield check_utf8(text, place) or PromptEntry(fields={"prompt": text}, location=place)


@dataclass(frozen=True)
class _Option:
    name: str
    raw: str  # its value with the quotes and the spaces around it
    start: int  # the column at which that begins
    place: SourceLocation


def _entry(text: str, place: SourceLocation) -> PromptEntry:
    """The words before the first option as the prompt, and what every option sets."""
    first = _next_option(text, 0)
    prompt = text[: first.start() if first else len(text)].strip()
    fields: dict[str, object] = {"prompt": prompt} if prompt else {}
    places: dict[str, SourceLocation] = {}
    faults: list[UsageError] = []
    for option in _options(text, first, place):
        name = _SHORT.get(option.name.lower(), option.name)
        try:
            if name in fields:
                raise located_error(option.place, f"--{option.name} is said twice")
            places[name] = option.place
            fields[name] = _value(option) or _switched_on(option, name)
        except UsageError as error:
            faults.append(error)
            if name == "prompt":  # without one, the line would be taken for defaults
                fields.setdefault(name, option.raw)
    return PromptEntry(
        fields=fields,
        location=place,
        is_text=True,
        locate=lambda name: places.get(name, place),
        faults=faults,
    )


def _options(text: str, at: re.Match[str] | None, place: SourceLocation) -> Iterator[_Option]:
    while at:
        start = at.end() + (text[at.end() : at.end() + 1] == "=")
        following = _next_option(text, start)
        raw = text[start : following.start() if following else len(text)]
        yield _Option(at[1], raw, start + 1, place.at(at.start() + 1))
        at = following


def _next_option(text: str, start: int) -> re.Match[str] | None:
    """The next option that is not inside of a quoted value, which must be a value's first sign."""
    first = re.compile(r"\s*").match(text, start)
    begin = first.end() if first else start
    if start and (quoted := _QUOTED.match(text, begin)):
        start = quoted.end()
    return _OPTION.search(text, start)


def _value(option: _Option) -> str:
    """The value without its quotes; empty when there is none. Raises UsageError."""
    value = option.raw.strip()
    if not value or value[0] not in "\"'":
        return value
    column = option.start + len(option.raw) - len(option.raw.lstrip())
    match = _QUOTED.match(value)
    if not match:
        raise located_error(option.place.at(column), f"--{option.name}: the quote is not closed")
    if rest := value[match.end() :].lstrip():
        column += len(value) - len(rest)
        raise located_error(
            option.place.at(column), f"--{option.name}: {rest!r} after the closing quote"
        )
    return match[2] if match[1] is None else _ESCAPE.sub(r"\1", match[1])


def _switched_on(option: _Option, name: str) -> str:
    """What an option without a value says: a switch is on. Raises UsageError for all others."""
    if option.raw.strip():
        return ""  # two quotes, and nothing between them
    try:
        if field_type(canonical_field(name)) == "bool":
            return "true"
    except UsageError as error:
        raise located_error(
            option.place, error.message, code=error.code, hint=error.hint
        ) from error
    raise located_error(option.place.at(option.start), f"--{option.name} has no value")
