"""Find the field that a name means, and parse its value."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Final, TypeGuard

from sdcli.errors import NearMissError, UsageError, did_you_mean, quoted
from sdcli.field_metadata import spelling_key
from sdcli.inputs.sizes import parse_size
from sdcli.pipeline_spec import SHORT_DTYPES
from sdcli.request import FIELD_TYPES, MAX_SEED, REQUEST_FIELDS, SIZE_INFO, describe_field

SIZE: Final = SIZE_INFO.option_name
"""The name "size", which stands for the fields width and height: "512x768"."""

NAMES: Final = ("prompt", *REQUEST_FIELDS, SIZE)
_BY_SPELLING: Final = {
    spelling: name
    for name, info in REQUEST_FIELDS.items()
    for spelling in (info.option_name, *info.aliases)
} | {name: name for name in NAMES}
OPTIONS_HINT: Final = "fields have the names of options: sdcli batch -h"

_WHOLE = re.compile(r"([+-]?[0-9]+)(\.0*)?")
_DIGITS: Final = len(str(MAX_SEED))
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_TRUTHS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@lru_cache(maxsize=256)
def canonical_field(name: str) -> str:
    """Return the field that a name means; case, spaces and dashes do not matter.

    Raises UsageError for an unknown name.
    """
    key = spelling_key(name)
    if found := _BY_SPELLING.get(key):
        return found
    # The table of other tools' words is only read for an unknown name.
    from sdcli.prompts.unsupported_fields import unsupported_field_error

    if error := unsupported_field_error(name, key):
        raise error
    message, near = f"unknown field {quoted(name)}", did_you_mean(key, _BY_SPELLING)
    if near:
        raise NearMissError(message, code="usage.field", hint=near)
    raise UsageError(message, code="usage.field", hint=OPTIONS_HINT)


def field_type(name: str) -> str:
    """Return the type of a field's values: str, int, float or bool. A size is text."""
    return FIELD_TYPES.get(name, "str")


_DEFAULTS: Final = {"seed": -1, "dtype": "auto", "vram": "auto"}
"""Values that ask for what a field has without any, against one in the settings.

The seed is that of A1111 and kohya.
"""


def parse_text(name: str, text: str) -> object:
    """Parse text to a value of the field. Raises UsageError."""
    word = text.strip()
    match field_type(name):
        case "int":
            return _or_default(name, parse_whole_number(name, word))
        case "float":
            return parse_number(name, word) if _or_default(name, word) else None
        case "bool":
            if word.lower() not in _TRUTHS:
                raise field_error(name, text, "is not true or false")
            return _TRUTHS[word.lower()]
    return parse_data(name, text)


def parse_whole_number(name: str, word: str) -> int:
    """Parse a whole number, also as spreadsheets write it: "8.0". Raises UsageError."""
    match = _WHOLE.fullmatch(word)
    if not match:
        raise field_error(name, word, "is not a whole number")
    if len(match[1].lstrip("+-0")) > _DIGITS:
        raise field_error(name, word, "is too large")
    return int(match[1])


def parse_number(name: str, word: str) -> float:
    """Parse a number with or without a fraction. Raises UsageError."""
    if not _NUMBER.fullmatch(word):
        raise field_error(name, word, "is not a number")
    if not math.isfinite(number := float(word)):
        raise field_error(name, word, "is too large")
    return number


def parse_data(name: str, value: object) -> object:
    """Check a value from JSON, YAML or TOML, and normalize its spelling. Raises UsageError."""
    if name == SIZE:
        return _size(value)
    if _or_default(name, value) is None:
        return None
    if isinstance(value, str):
        return SHORT_DTYPES.get(value, value) if name == "dtype" else value
    if not isinstance(value, bool | int | float):
        hint = "put it in quotes" if field_type(name) == "str" else None
        raise field_error(name, value, "is not a single value", hint=hint)
    if field_type(name) == "str":
        raise field_error(name, value, "is not text", hint="put it in quotes")
    if field_type(name) == "int" and isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and abs(value) > MAX_SEED:
        raise field_error(name, value, "is too large")
    return value


def _or_default(name: str, value: object) -> object:
    return None if value == _DEFAULTS.get(name) else value


def field_error(name: str, value: object, why: str, *, hint: str | None = None) -> UsageError:
    """The error of a value that the field cannot have."""
    flag = "--size" if name == SIZE else describe_field(name)
    return UsageError(f"{flag}: {_abbreviate(value)} {why}", code=f"usage.{name}", hint=hint)


def _abbreviate(value: object) -> str:
    """A value in few words: a nested one could be endless."""
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, int) and abs(value) > MAX_SEED:
        return "a number of this size"
    text = quoted(value)
    return text if len(text) <= 60 else text[:59] + "…"


def _size(value: object) -> tuple[int, int]:
    if is_pair(value):
        width, height = value
        return width, height
    size = parse_size(value) if isinstance(value, str) else None
    if not size:
        raise field_error(SIZE, value, "is not WIDTHxHEIGHT", hint="e.g. --size 512x768")
    return size


def is_pair(value: object) -> TypeGuard[tuple[int, int]]:
    """Whether a value is a size in JSON's form: [512, 768]."""
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(isinstance(side, int) and not isinstance(side, bool) for side in value)
    )
