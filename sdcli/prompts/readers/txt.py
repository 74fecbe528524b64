"""Read text files: one prompt per line, with options in the syntax of A1111 or kohya's scripts.

a cat
a cat --n a dog --w 64 --h 64 --d 7 --s 20 --l 3
--prompt "a cat" --negative_prompt "a dog" --steps 20 --sampler_name "Euler a"
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from sdcli.errors import UsageError, quoted
from sdcli.prompts.encoding import check_text
from sdcli.prompts.entry import (
    EntryIterator,
    PromptEntry,
    SourceLocation,
    located_error,
    relocated_error,
)
from sdcli.prompts.fields import canonical_field, field_type

_SHORT_NAMES: Final[Mapping[str, str]] = {
    "n": "negative_prompt",
    "w": "width",
    "h": "height",
    "d": "seed",
    "s": "steps",
    "l": "guidance",
    "ss": "scheduler",
}
"""The option names of kohya's scripts, in upper or lower case."""

_OPTION = re.compile(r"(?:^|(?<=\s))--([A-Za-z][\w-]*)(?=\s|=|$)")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"|\'([^\']*)\'', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_SPACES = re.compile(r"\s*")


def read_txt(lines: Iterable[str], file: str) -> EntryIterator:
    """Read the prompts of a text file; blank lines and those that begin with # are skipped.

    A line of options alone, before the first prompt, sets defaults. Only a quoted value may contain
    the text of an option; in double quotes, a backslash escapes the next character.
    """
    for number, line in enumerate(lines, 1):
        text = line.rstrip("\n")
        start = len(text) - len(text.lstrip()) + 1
        if not text.strip() or text.lstrip().startswith("#"):
            yield check_text(text, SourceLocation(file, number))
            continue
        location = SourceLocation(file, number, start)
        yield check_text(text, location) or _read_line(text, location)


def read_plain_lines(lines: Iterable[str], file: str) -> EntryIterator:
    """Read one prompt per line, without options."""
    for number, line in enumerate(lines, 1):
        text = line.strip()
        location = SourceLocation(file, number)
        if not text or text.startswith("#"):
            yield check_text(text, location)
        else:
            entry = PromptEntry(fields={"prompt": text}, location=location)
            yield check_text(text, location) or entry


def read_plain_records(records: Iterable[str], file: str) -> EntryIterator:
    """Read one prompt per record; unlike in lines, # begins no comment."""
    for number, record in enumerate(records, 1):
        text = record.strip()
        location = SourceLocation(file, number)
        if not text:
            yield None
        else:
            entry = PromptEntry(fields={"prompt": text}, location=location)
            yield check_text(text, location) or entry


@dataclass(frozen=True)
class _Option:
    """An option of a line. `raw` is its value with quotes and spaces, from column `start`."""

    name: str
    raw: str
    start: int
    location: SourceLocation

    def error(self, message: str, column: int | None = None) -> UsageError:
        location = self.location if column is None else self.location.at_column(column)
        return located_error(location, f"--{self.name}{message}")


def _read_line(text: str, location: SourceLocation) -> PromptEntry:
    """Read the words before the first option as the prompt, then the options."""
    first = _find_option(text, 0)
    prompt = text[: first.start() if first else len(text)].strip()
    fields: dict[str, object] = {"prompt": prompt} if prompt else {}
    locations: dict[str, SourceLocation] = {}
    faults: list[UsageError] = []
    for option in _options(text, first, location):
        name = _SHORT_NAMES.get(option.name.lower(), option.name)
        try:
            if name in fields:
                raise option.error(" is a duplicate option")
            locations[name] = option.location
            fields[name] = _parse_value(option, name)
        except UsageError as error:
            faults.append(error)
            # Without a prompt, the line would be taken for defaults and get a second error.
            if name == "prompt":
                fields.setdefault(name, option.raw)
    return PromptEntry(
        fields=fields,
        location=location,
        is_text=True,
        locate=lambda name: locations.get(name, location),
        faults=faults,
    )


def _options(text: str, match: re.Match[str] | None, location: SourceLocation) -> Iterator[_Option]:
    """Yield the options of a line, from the match of the first one."""
    while match:
        start = match.end() + (text[match.end() : match.end() + 1] == "=")
        following = _find_option(text, start)
        raw = text[start : following.start() if following else len(text)]
        yield _Option(match[1], raw, start + 1, location.at_column(match.start() + 1))
        match = following


def _find_option(text: str, value_start: int) -> re.Match[str] | None:
    """Find the next option behind the value that starts there, or from the start of the line."""
    spaces = _SPACES.match(text, value_start)
    begin = spaces.end() if spaces else value_start
    # Quotes count only at the start of a value: prompts may contain apostrophes and inches.
    if value_start and (quoted := _QUOTED.match(text, begin)):
        value_start = quoted.end()
    return _OPTION.search(text, value_start)


def _parse_value(option: _Option, name: str) -> str:
    """Return the value of an option without its quotes. Raises UsageError."""
    value = option.raw.strip()
    if not value:
        return _switch_value(option, name)
    if value[0] not in "\"'":
        return value
    column = option.start + len(option.raw) - len(option.raw.lstrip())
    match = _QUOTED.match(value)
    if not match:
        raise option.error(": the quote is not closed", column)
    if rest := value[match.end() :].lstrip():
        column += len(value) - len(rest)
        raise option.error(f": unexpected {quoted(rest)} after the closing quote", column)
    return match[2] if match[1] is None else _ESCAPE.sub(r"\1", match[1])


def _switch_value(option: _Option, name: str) -> str:
    """Return the value of an option without one. Raises UsageError unless it is a switch."""
    try:
        if field_type(canonical_field(name)) == "bool":
            return "true"
    except UsageError as error:
        raise relocated_error(option.location, error) from error
    raise option.error(" has no value", option.start)
