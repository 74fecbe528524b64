"""Read whether a setting turns something on or off."""

from __future__ import annotations

from typing import Final

_WORDS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def read_switch(value: object) -> bool | None:
    """Return whether a value turns a switch on, None if it is neither on nor off."""
    return _WORDS.get(str(value).lower())
