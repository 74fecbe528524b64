"""Check the header row of CSV and TSV files, which names the fields."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from sdcli.errors import UsageError, UsageErrors
from sdcli.prompts.entry import SourceLocation, located_error, relocated_error
from sdcli.prompts.fields import canonical_field

DELIMITER_NAMES: Final = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "vertical bars"}
_FORMATS: Final = {",": "csv", "\t": "tsv"}
_PROMPT: Final = "prompt"
_PROMPT_SUGGESTION: Final = f"did you mean {_PROMPT}?"


def check_header(
    header: Sequence[str], locate: Callable[[int], SourceLocation], delimiter: str
) -> UsageError | None:
    """Return all errors of the column names, or None. `locate` takes the index of a column."""
    if actual := _actual_delimiter(header, delimiter):
        return _delimiter_error(locate(0), delimiter, actual)
    names: list[str] = []
    errors: list[UsageError] = []
    for index, name in enumerate(header):
        try:
            names.append(_parse_name(name, names))
        except UsageError as error:
            errors.append(relocated_error(locate(index), error))
    is_misspelt = any(error.hint == _PROMPT_SUGGESTION for error in errors)
    if _PROMPT not in names and not is_misspelt:
        # Without a single field, the first row is no header, and its words are not names.
        errors = [_no_prompt_error(locate(0)), *(errors if names else ())]
    return UsageErrors(errors) if errors else None


def _delimiter_error(location: SourceLocation, expected: str, actual: str) -> UsageError:
    hint = f"separate the columns with {DELIMITER_NAMES[expected]}"
    if actual in _FORMATS:
        hint += f", or use --input-format {_FORMATS[actual]}"
    message = f"expected {DELIMITER_NAMES[expected]} between columns, not {DELIMITER_NAMES[actual]}"
    return located_error(location, message, hint=hint)


def _no_prompt_error(location: SourceLocation) -> UsageError:
    hint = "the first line must name the columns, for example prompt,steps,seed"
    return located_error(location, "no column is named prompt", hint=hint)


def _parse_name(text: str, names: Sequence[str]) -> str:
    """Return the field of a column. Raises UsageError if it is in `names` already."""
    if not text.strip():
        raise UsageError("column without a name", code="usage.field", hint="name it or remove it")
    name = canonical_field(text.strip())
    if name in names:
        raise UsageError(f"duplicate column {name!r}", code="usage.field")
    return name


def _actual_delimiter(header: Sequence[str], delimiter: str) -> str | None:
    """Return the delimiter that the file uses instead, or None."""
    if len(header) > 1:
        return None
    for other in DELIMITER_NAMES.keys() - {delimiter}:
        names = header[0].split(other)
        if len(names) > 1 and any(name.strip().lower() == _PROMPT for name in names):
            return other
    return None
