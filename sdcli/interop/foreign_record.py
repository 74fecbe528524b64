"""What a stranger's record is here: the one type that every reader of other programs gives."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

_LONGEST: Final = 200


@dataclass(frozen=True, kw_only=True)
class ForeignRecord:
    """A stranger's record: `found` has our names of fields (values unchecked), `other` the rest."""

    generator: str
    fields: Mapping[str, object]
    extra: Mapping[str, object] = field(default_factory=dict)


def json_object(text: str) -> dict[str, Any]:
    """The text as a JSON object, empty when it is none."""
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}


def shorten(value: object, longest: int = _LONGEST) -> str:
    """A value in a few words; what nests may be endless."""
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except (ValueError, TypeError, RecursionError):
        text = "…"
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
