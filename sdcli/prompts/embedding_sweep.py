"""Parse lists of textual inversion embeddings, which are axes of a sweep."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sdcli.fields.embedding import EMBEDDING, format_embeddings, parse_embeddings
from sdcli.prompts.fields import field_error
from sdcli.prompts.ranges import check_length


def embedding_values(text: str) -> list[str]:
    """Parse "none,a.pt;b.pt:toy": a list of what images use. Raises UsageError."""
    values = [word.strip() for word in text.split(",")]
    if not all(values):
        why = "has an empty item in its list" if "," in text else "is empty"
        raise field_error(EMBEDDING, text, why)
    check_length(EMBEDDING, text, len(values))
    for value in values:
        parse_embeddings(value)
    return values


def relative_to(folder: Path, value: str) -> str:
    """Replace the names in a prompt file by paths where its folder has such a file."""
    uses = parse_embeddings(value)
    paths = {use: folder / use.path for use in uses if not use.path.startswith("~")}
    found = {use: str(path) for use, path in paths.items() if path.is_file()}
    # "none" is no name.
    return format_embeddings(replace(use, path=found.get(use, use.path)) for use in uses) or value
