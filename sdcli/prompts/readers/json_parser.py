"""Parse JSON strictly, and report errors with their offsets."""

from __future__ import annotations

import json
from typing import Final

from sdcli.inputs.syntax_errors import FALLBACK, JSON, TOO_DEEP, plain_words
from sdcli.prompts.readers.json_locations import find_rejected_token


class JsonError(ValueError):
    """The text is not JSON, or not the JSON that sdcli accepts."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


def strict_loads(text: str) -> object:
    """Parse JSON without duplicate keys, NaN, infinities and endless digits. Raises JsonError."""
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise JsonError(plain_words(error.msg, JSON), error.pos) from error
    except RecursionError as error:
        raise JsonError(TOO_DEEP, 0) from error
    except ValueError as error:
        # From the hooks below and from int(), which do not know their offset.
        message, offset = find_rejected_token(text) or (FALLBACK, 0)
        raise JsonError(message, offset) from error


def _reject_duplicate_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    # Python's parser keeps only the last one, silently.
    if len(fields) < len(pairs):
        raise ValueError("duplicate key")
    return fields


def _reject_constant(word: str) -> object:
    raise ValueError(f"{word} is not a valid number")


# Made once: json.loads would make one for every line.
_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_reject_duplicate_keys, parse_constant=_reject_constant
)
