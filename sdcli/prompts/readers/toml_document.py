"""Read a TOML document: defaults, then one [[requests]] table per request."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from typing import Final

from sdcli.errors import UsageError
from sdcli.prompts.encoding import check_document_utf8
from sdcli.prompts.entry import EntryIterator, SourceLocation, located_error
from sdcli.prompts.readers.documents import document_entries
from sdcli.prompts.readers.locations import LineIndex, nearest_location
from sdcli.prompts.readers.syntax_hints import toml_hint
from sdcli.prompts.readers.toml_locations import find_unclosed, toml_offsets

# tomllib's errors have no attributes, only this text (Python 3.14 adds them).
_TOML_ERROR = re.compile(r"(?P<what>.*) \(at line (?P<line>\d+), column (?P<column>\d+)\)")
_AT_END: Final = " (at end of document)"

# More digits than int() takes; its ValueError has no location at all.
_LONG_NUMBER = re.compile(r"[0-9_]{4301,}")


def read_toml(lines: Iterable[str], file: str) -> EntryIterator:
    """Read the requests of a TOML document, which is held in memory as a whole."""
    # As tomllib does: otherwise its lines and columns would not be ours.
    text = "".join(lines).replace("\r\n", "\n")
    if problem := check_document_utf8(text, file):
        yield problem
        return
    index = LineIndex(text, file)
    try:
        value = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        yield _syntax_error(text, file, index, error)
        return
    offsets = toml_offsets(text)
    yield from document_entries(
        value, lambda path: index.location(nearest_location(offsets, path, 0))
    )


def _syntax_error(text: str, file: str, index: LineIndex, error: Exception) -> UsageError:
    """Build the error of a text that tomllib rejects, with the best known location."""
    message = "nested too deeply" if isinstance(error, RecursionError) else str(error)
    location = SourceLocation(file, 1, 1)
    if match := _TOML_ERROR.fullmatch(message):
        message = match["what"]
        location = SourceLocation(file, int(match["line"]), int(match["column"]))
    elif digits := _LONG_NUMBER.search(text):
        message = f"number with {len(digits[0])} digits is too large"
        location = index.location(digits.start())
    elif message.endswith(_AT_END):
        message = message.removesuffix(_AT_END)
        # The end of the file helps nobody to find a bracket that is never closed.
        offset = find_unclosed(text)
        location = index.location(len(text.rstrip("\n")) if offset is None else offset)
    return located_error(location, f"invalid TOML: {message}", hint=toml_hint(message))
