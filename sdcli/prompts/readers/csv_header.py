"""The first row of a table: it names the fields, and what is wrong with it is told once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from sdcli.errors import UsageError, UsageErrors
from sdcli.prompts.entry import SourceLocation, located_error
from sdcli.prompts.fields import canonical_field

_DELIMITERS: Final = {",": "comma", "\t": "tab", ";": "semicolon", "|": "bar"}
_FORMATS: Final = {",": "csv", "\t": "tsv"}
_PROMPT: Final = "prompt"
_MEANT: Final = f"did you mean {_PROMPT}?"


def check_header(
    header: Sequence[str], start: Callable[[int], SourceLocation], delimiter: str
) -> UsageError | None:
    """All that is wrong with the names of the columns; `start` says where one is."""
    if other := _other_delimiter(header, delimiter):
        what = f"the delimiter is a {_DELIMITERS[delimiter]}, not a {_DELIMITERS[other]}"
        hint = f"save it with {_DELIMITERS[delimiter]}s"
        if other in _FORMATS:
            hint += f", or say --input-format {_FORMATS[other]}"
        return located_error(start(0), what, hint=hint)
    names: list[str] = []
    faults: list[UsageError] = []
    for index, name in enumerate(header):
        try:
            names.append(_field(name, names))
        except UsageError as error:
            faults.append(
                located_error(start(index), error.message, code=error.code, hint=error.hint)
            )
    if _PROMPT not in names and not any(error.hint == _MEANT for error in faults):
        faults = [_no_prompt(start(0)), *(faults if names else ())]
    return UsageErrors(faults) if faults else None


def _no_prompt(place: SourceLocation) -> UsageError:
    return located_error(
        place,
        "no column is called prompt",
        hint="the first line must name the columns, as in prompt,steps,seed",
    )


def _field(written: str, before: Sequence[str]) -> str:
    """The field of a column. Raises UsageError."""
    name = written.strip()
    if not name:
        raise UsageError("a column without a name", code="usage.field", hint="name it")
    found = canonical_field(name)
    if found in before:
        raise UsageError(f"the column {found!r} is there twice", code="usage.field")
    return found


def _other_delimiter(header: Sequence[str], delimiter: str) -> str | None:
    """What the names are divided by, where they are one name else."""
    if len(header) > 1:
        return None
    for other in _DELIMITERS.keys() - {delimiter}:
        names = header[0].split(other)
        if len(names) > 1 and any(name.strip().lower() == _PROMPT for name in names):
            return other
    return None
