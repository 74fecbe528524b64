"""Check the values of described fields."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from sdcli.errors import UsageError, quoted
from sdcli.field_metadata import FieldInfo
from sdcli.inputs.text_decoding import NUL, find_bad_character

_LONGEST_TEXT: Final = 16_384  # readers limit PNG text chunks, and a record holds it twice

_HUGE: Final = 10**40
_SEPARATOR: Final = ";"


def check_text(label: str, value: object, *, optional: bool, empty: bool = False) -> None:
    """Raise UsageError unless the value is text that a record can hold.

    `label` is the field's name in the message, which begins with the field's own name.
    """
    if value is None and optional:
        return
    if not isinstance(value, str):
        raise value_error(label, value, "is not text")
    if not value and not empty:
        raise value_error(label, value, "is empty")
    if len(value) > _LONGEST_TEXT:
        raise value_error(label, value[:20] + "…", f"is longer than {_LONGEST_TEXT} characters")
    if (column := find_bad_character(value)) is not None:
        is_nul = value[column - 1] == NUL
        reason = "has a NUL character, which no text has" if is_nul else "is not valid Unicode"
        raise value_error(label, value, reason)


def is_plain_text(value: object) -> bool:
    """Whether a value is text that nothing is wrong with, as a quick look tells for most."""
    return (
        type(value) is str
        and value.isascii()
        and 0 < len(value) <= _LONGEST_TEXT
        and NUL not in value
    )


def check_number(
    label: str, value: object, info: FieldInfo, *, is_fraction: bool, optional: bool
) -> None:
    """Raise UsageError unless the value is a number within the field's limits."""
    if value is None and optional:
        return
    types = (int, float) if is_fraction else (int,)
    # True is an int to Python, but not to a person.
    if isinstance(value, bool) or not isinstance(value, types):
        raise value_error(label, value, f"is not a {'' if is_fraction else 'whole '}number")
    assert info.minimum is not None
    assert info.maximum is not None
    if isinstance(value, float) and not math.isfinite(value):
        # JSON and YAML read 1e400 as infinity.
        raise value_error(label, value, "is not a finite number")
    if not info.minimum <= value <= info.maximum:
        raise value_error(label, value, f"is not between {info.minimum} and {info.maximum}")


def check_switch(label: str, value: object, *, optional: bool = False) -> None:
    """Raise UsageError unless the value is true or false; 1 and 0 are neither."""
    if not isinstance(value, bool) and not (optional and value is None):
        raise value_error(label, value, "is not true or false")


def check_choice(label: str, value: object, choices: Sequence[str]) -> None:
    """Raise UsageError unless the value is None or one of the words."""
    if value is not None and value not in choices:
        raise value_error(label, value, f"is not {', '.join(choices)}")


def refuse_separator(field: str, path: str) -> str:
    """Return a path. Raise UsageError if it has the sign that separates the paths of one image."""
    if _SEPARATOR not in path:
        return path
    raise UsageError(
        f"{quoted(path)} has {_SEPARATOR!r}, which separates the paths of one image",
        code=f"usage.{field}",
        hint="rename that folder or file, or make a link to it without",
    )


def value_error(label: str, value: object, reason: str) -> UsageError:
    """The error of a value that a field cannot have."""
    # Python does not even write a number of more than 4300 digits.
    is_huge = isinstance(value, int) and abs(value) >= _HUGE
    text = "a number of more than 40 digits" if is_huge else quoted(value)
    return UsageError(f"{label}: {text} {reason}", code=f"usage.{label.partition(' ')[0]}")


def label_of(name: str, infos: Mapping[str, FieldInfo]) -> str:
    """A field's name for messages, with its flag where the two differ."""
    info = infos.get(name)
    return name if info is None or info.option_name == name else f"{name} ({info.flag})"
