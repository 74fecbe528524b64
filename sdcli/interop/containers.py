"""Find the texts of programs in the containers that they use besides PNG chunks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final

from sdcli.interop.foreign_record import json_object

_PREFIXED: Final = re.compile(r"\s*(prompt|workflow|parameters)\s*:\s*(?=[{\[])", re.IGNORECASE)
"""ComfyUI's names before its JSON in the EXIF tags Make, Model and ImageDescription."""
_KEYWORDS: Final = (
    "prompt", "workflow", "parameters", "invokeai_metadata", "sd-metadata", "Comment",
    "Description", "Source",
)  # fmt: skip
"""Keywords of PNG chunks that other containers hold as keys of one JSON object."""


def by_keyword(texts: Mapping[str, str]) -> dict[str, str]:
    """Add the texts within texts, by the keywords that they would have as chunks of a PNG."""
    named = dict(texts)
    for text in texts.values():
        for keyword, inner in _within(text):
            named.setdefault(keyword, inner)
    return named


def _within(text: str) -> Iterator[tuple[str, str]]:
    if match := _PREFIXED.match(text):
        yield match[1].lower(), text[match.end() :]
        return
    facts = json_object(text)
    if _is_graph(facts):
        yield "prompt", text
    is_novelai = bool(json_object(str(facts.get("Comment", ""))))
    for keyword in _KEYWORDS:
        value = facts.get(keyword)
        if isinstance(value, dict):
            # A file can nest objects deeper than the encoder follows.
            with suppress(RecursionError, ValueError):
                yield keyword, json.dumps(value)
        # A record of mflux or Fooocus has a "prompt", too, which is only that.
        elif isinstance(value, str) and (json_object(value) or is_novelai):
            yield keyword, value


def _is_graph(facts: Mapping[str, object]) -> bool:
    """Whether an object is one of ComfyUI's graphs itself."""
    return any(isinstance(node, dict) and "class_type" in node for node in facts.values())
