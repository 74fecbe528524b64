"""Check the types of the JSON in the metadata of latents files, which any tool may have written."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

_HUGE: Final = 2**63
_MAX_DEPTH: Final = 40

Check = Callable[[object], bool]


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def is_number(value: object) -> bool:
    """Whether a value is a finite number of JSON."""
    # Compared before it is converted: float() raises for a whole number of 400 digits.
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) < _HUGE and math.isfinite(value)  # type: ignore[arg-type]


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _optional(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _list_of(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _texts_by_name(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value.values()))


_TEXT: Final = _optional(_is_text)
_CHECKS: Final[Mapping[str, Mapping[str, Check]]] = {
    "record": {
        "request": _is_object,
        "scheduler": _is_object,
        "timesteps": _list_of(is_number),
        "sigmas": _optional(_list_of(is_number)),
        "pixels": _is_object,
        "versions": _texts_by_name,
        "weights": _texts_by_name,
        "events": _list_of(_is_text),
        "decoded": _is_object,
        **dict.fromkeys(("schema", "job", "dtype", "device"), _TEXT),
        **dict.fromkeys(("batch_size", "refiner_call"), _optional(is_number)),
        **dict.fromkeys(("vae_dtype", "vae_order"), _TEXT),
    },
    "encoded": {
        "versions": _texts_by_name,
        "weights": _texts_by_name,
        "events": _list_of(_is_text),
        **dict.fromkeys(("image", "model", "vae", "variant", "dtype", "device"), _TEXT),
        **dict.fromkeys(("pixels_sha256", "model_config", "prediction_type", "backend"), _TEXT),
        "force_vae": _optional(lambda value: isinstance(value, bool)),
        "scaling_factor": _optional(is_number),
        "seed": _optional(is_number),
    },
    "scheduler": {"class": _TEXT, "config": _is_object},
    "pixels": {"sha256": _TEXT, "width": is_number, "height": is_number},
}
"""The check of each key that sdcli reads, for the objects of a file and those inside of them."""


def wrong_key(name: str, value: Mapping[str, Any]) -> str | None:
    """Return the path of a key whose value has another type than sdcli writes, or None.

    `name` is that of the object: "record" or "encoded".
    """
    for key, check in _CHECKS.get(name, {}).items():
        if key in value and not check(value[key]):
            return key
    for key in ("scheduler", "pixels"):
        inner = value.get(key)
        if isinstance(inner, dict) and (wrong := wrong_key(key, inner)):
            return f"{key}.{wrong}"
    return next((key for key in value if _is_too_deep(value[key])), None)


def _is_too_deep(value: object) -> bool:
    """Whether a value is nested so deeply that writing it as JSON again may fail."""
    level = [value]
    for _ in range(_MAX_DEPTH):
        inner = [list(v.values()) if isinstance(v, dict) else v for v in level]
        level = [item for v in inner if isinstance(v, list) for item in v]
        if not level:
            return False
    return True
