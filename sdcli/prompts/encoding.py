"""Decode the lines of prompt files and report bytes that are not UTF-8."""

from __future__ import annotations

import re

from sdcli.errors import UsageError
from sdcli.prompts.entry import SourceLocation, located_error

_SURROGATE = re.compile("[\ud800-\udfff]")


def decode_line(line: bytes, *, first: bool) -> str:
    """Decode a line. Bytes that are not UTF-8 become lone surrogates, for `check_utf8` to find."""
    # Spreadsheets begin a UTF-8 file with a byte order mark, which would end up in the name of
    # the first field.
    return line.decode("utf-8-sig" if first else "utf-8", "surrogateescape")


def check_utf8(line: str, location: SourceLocation) -> UsageError | None:
    """Return the error of a line with bytes that are not UTF-8, or None."""
    offset = invalid_utf8_offset(line)
    return None if offset is None else utf8_error(location.at_column(offset + 1))


def check_document_utf8(text: str, file: str) -> UsageError | None:
    """Return the error of the first line of a text that is not UTF-8, or None."""
    for number, line in enumerate(text.split("\n"), 1):
        if error := check_utf8(line, SourceLocation(file, number)):
            return error
    return None


def invalid_utf8_offset(text: str) -> int | None:
    """Return the offset of the first byte that was not UTF-8, or None."""
    match = None if text.isascii() else _SURROGATE.search(text)
    return match.start() if match else None


def utf8_error(location: SourceLocation) -> UsageError:
    """Build the error of a byte that is not UTF-8."""
    return located_error(location, "not UTF-8", hint="save the file as UTF-8")
