"""Read a TOML document: defaults, then one [[requests]] table per request."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable

from sdcli.errors import UsageError
from sdcli.inputs.syntax_errors import describe_toml_error
from sdcli.prompts.encoding import check_document
from sdcli.prompts.entry import EntryIterator, SourceLocation, located_error
from sdcli.prompts.readers.documents import document_entries
from sdcli.prompts.readers.locations import LineIndex, nearest_location
from sdcli.prompts.readers.syntax_hints import toml_hint
from sdcli.prompts.readers.toml_locations import find_unclosed, toml_offsets


def read_toml(lines: Iterable[str], file: str) -> EntryIterator:
    """Read the requests of a TOML document, which is held in memory as a whole."""
    text = "".join(lines)
    if problem := check_document(text, file):
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
    message, line, column = describe_toml_error(text, error)
    location = SourceLocation(file, line, column)
    if not line:
        # The end of the file helps nobody to find a bracket that is never closed.
        offset = find_unclosed(text)
        location = index.location(len(text.rstrip("\n")) if offset is None else offset)
    return located_error(location, f"invalid TOML: {message}", hint=toml_hint(message))
