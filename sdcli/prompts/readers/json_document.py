"""Read a JSON document: a list of requests, or their defaults and the requests."""

from __future__ import annotations

from collections.abc import Iterable

from sdcli.prompts.encoding import check_document
from sdcli.prompts.entry import EntryIterator, located_error
from sdcli.prompts.readers.documents import document_entries
from sdcli.prompts.readers.json_locations import json_offsets
from sdcli.prompts.readers.json_parser import JsonError, strict_loads
from sdcli.prompts.readers.locations import LineIndex, nearest_location
from sdcli.prompts.readers.syntax_hints import json_hint


def read_json(lines: Iterable[str], file: str) -> EntryIterator:
    """Read the requests of a JSON document, which is held in memory as a whole."""
    text = "".join(lines)
    if problem := check_document(text, file):
        yield problem
        return
    index = LineIndex(text, file)
    try:
        value = strict_loads(text)
    except JsonError as error:
        hint = json_hint(text, error.offset, str(error))
        yield located_error(index.location(error.offset), f"invalid JSON: {error}", hint=hint)
        return
    offsets = json_offsets(text)
    yield from document_entries(
        value, lambda path: index.location(nearest_location(offsets, path, 0))
    )
