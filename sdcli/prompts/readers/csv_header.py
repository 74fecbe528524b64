"""Check the header row of CSV and TSV files, which names the fields."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from typing import Final

from sdcli.errors import UsageError, UsageErrors, quoted
from sdcli.prompts.columns import DEFAULT_COLUMNS, Columns, prompt_column_hint
from sdcli.prompts.entry import SourceLocation, located_error, relocated_error

DELIMITER_NAMES: Final = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "vertical bars"}
_SEPARATOR_LINE = re.compile(r'"?sep=([,;\t|])"?[,;\t\s]*', re.IGNORECASE)
_PROMPT: Final = "prompt"
_PROMPT_SUGGESTION: Final = f"did you mean {_PROMPT}?"


def check_header(
    header: Sequence[str],
    locate: Callable[[int], SourceLocation],
    columns: Columns = DEFAULT_COLUMNS,
) -> UsageError | None:
    """Return all errors of the column names, or None. `locate` takes the index of a column."""
    names: list[str] = []
    errors: list[UsageError] = []
    for index, name in enumerate(header):
        try:
            names.append(_parse_name(name, names, columns))
        except UsageError as error:
            errors.append(relocated_error(locate(index), error))
    is_misspelt = any((error.hint or "").startswith(_PROMPT_SUGGESTION) for error in errors)
    if _PROMPT not in names and not is_misspelt:
        # Without a single field, the first row is no header, and its words are not names.
        errors = [
            _no_prompt_error(locate(0), header, columns),
            *(errors if names else ()),
        ]
    return UsageErrors(errors) if errors else None


def _no_prompt_error(
    location: SourceLocation, header: Sequence[str], columns: Columns
) -> UsageError:
    # The delimiter is only found with the column of the prompts.
    names = header if len(header) > 1 else re.split(r"[,;\t|]", header[0])
    hint = prompt_column_hint(columns, names)
    if header[0].startswith(("//", ";")):
        hint = "a comment line begins with #"
    return located_error(location, f"no column is named {columns.prompt_name}", hint=hint)


def _parse_name(text: str, names: Sequence[str], columns: Columns) -> str:
    """Return the field of a column, or the name of an extra one.

    Raises UsageError if it is in `names` already.
    """
    if not text.strip():
        if columns.extra == "ignore":
            return ""
        raise UsageError("column without a name", code="usage.field", hint="name it or remove it")
    name = columns.field_of(text.strip())
    if name is None and columns.extra == "ignore":
        return ""
    # An extra column may have the name of a field, as its own spelling.
    name = name or f"extra {text.strip()}"
    if name in names:
        raise UsageError(
            f"duplicate column {quoted(name.removeprefix('extra '))}", code="usage.field"
        )
    return name


def sniff_delimiter(text: str, delimiter: str, columns: Columns = DEFAULT_COLUMNS) -> str | None:
    """Return the delimiter of a header row that is not `delimiter`, or None.

    The first line `sep=;` of Excel names it, too.
    """
    if match := _SEPARATOR_LINE.fullmatch(text.rstrip("\r\n")):
        return match[1]
    others = [other for other in DELIMITER_NAMES if other != delimiter and other in text]
    if not others or _has_prompt_column(text, delimiter, columns):
        return None
    return next((other for other in others if _has_prompt_column(text, other, columns)), None)


def is_separator_line(text: str) -> bool:
    """Whether the line names the delimiter, as Excel writes it: `sep=;`."""
    return bool(_SEPARATOR_LINE.fullmatch(text.rstrip("\r\n")))


def _has_prompt_column(text: str, delimiter: str, columns: Columns) -> bool:
    try:
        cells = next(csv.reader([text.rstrip("\r\n")], delimiter=delimiter), [])
    except csv.Error:
        return False
    return any(columns.is_prompt(cell) for cell in cells)
