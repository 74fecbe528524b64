"""Report bytes of prompt files that are not text, with their location."""

from __future__ import annotations

from sdcli.errors import UsageError
from sdcli.inputs.text_decoding import NUL, describe_bad_character, find_bad_character
from sdcli.prompts.entry import SourceLocation, located_error


def check_text(line: str, location: SourceLocation) -> UsageError | None:
    """Return the error of a line with bytes that are not text, or None."""
    column = find_bad_character(line)
    return None if column is None else bad_character_error(line, column, location)


def check_document(text: str, file: str) -> UsageError | None:
    """Return the error of the first line of a document that is not text, or None."""
    if find_bad_character(text) is None:
        return None
    for number, line in enumerate(text.split("\n"), 1):
        if column := find_bad_character(line):
            message, hint = describe_bad_character(line[column - 1])
            place = SourceLocation(file, number).at_column(column)
            return located_error(place, message, hint=hint)
    return None


def bad_character_error(line: str, column: int, location: SourceLocation) -> UsageError:
    """Build the error of the character in a column of a line."""
    message, hint = describe_bad_character(line[column - 1])
    if line[column - 1] == NUL:
        hint = f"{hint}; -0 reads prompts that are separated by NUL"
    return located_error(location.at_column(column), message, hint=hint)
