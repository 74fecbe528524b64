"""Represent the metadata of other programs in sdcli's field names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

_MAX_LENGTH: Final = 200


@dataclass(frozen=True, kw_only=True)
class ForeignRecord:
    """Metadata of an image from another program.

    `fields` uses sdcli's field names and has unchecked values; `extra` is everything else, under
    the program's own names. `not_found` has the fields that the image had and the metadata does not
    tell, with the place where their trace ends; such a field is not in `fields`. `doubts` are
    reasons to distrust the reading.
    """

    generator: str
    fields: Mapping[str, object]
    extra: Mapping[str, object] = field(default_factory=dict)
    not_found: Mapping[str, str] = field(default_factory=dict)
    doubts: Sequence[str] = ()


def json_object(text: str) -> dict[str, Any]:
    """Parse a JSON object, returning an empty dictionary for any other text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def shorten(value: object, max_length: int = _MAX_LENGTH) -> str:
    """Format a value as text of at most `max_length` characters."""
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except (ValueError, TypeError, RecursionError):
        # A file can nest lists deeper than the encoder follows.
        text = "…"
    return text if len(text) <= max_length else f"{text[: max_length - 1]}…"
