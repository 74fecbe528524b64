"""Reduce the configuration of a component to what its class takes, with the types checked."""

from __future__ import annotations

import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from sdcli.checkpoints.json_files import shorten
from sdcli.errors import CorruptError

# Diffusers reads them beside the options of the class.
_DIFFUSERS_KEYS: Final = ("_class_name", "_diffusers_version", "_use_default_values")

# Diffusers' pipelines read it from the text encoder's configuration, Transformers does not know it.
_TEXT_ENCODER_KEYS: Final = ("use_attention_mask",)


def reduce_config(cls: Any, config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the entries of `config` that `cls` takes. Raises CorruptError for another type.

    Neither library needs the others, but both obey some of them: an implementation of attention
    that is fetched from the hub, files to load in place of the usual ones.
    """
    options = _options(cls)
    for key, value in config.items():
        if key in options and not _fits(value, options[key]):
            raise CorruptError(
                f"{path}: {key} is {shorten(value)}, which {cls.__name__} does not take",
                code="model.corrupt",
                hint="download the file again",
            )
    kept = (*options, *(_DIFFUSERS_KEYS if hasattr(cls, "from_config") else _TEXT_ENCODER_KEYS))
    return {key: value for key, value in config.items() if key in kept}


def _options(cls: Any) -> dict[str, Any]:
    """Return the options of a class of Diffusers, or of Transformers' CLIP, with their types."""
    if hasattr(cls, "from_config"):
        return {key: hint for key, hint in get_type_hints(cls.__init__).items() if key != "return"}
    return dict(cls.config_class.__annotations__)


def _fits(value: Any, hint: Any) -> bool:
    """Return whether a value from JSON is of the annotated type, as far as JSON can tell."""
    origin = get_origin(hint) or hint
    if origin in (Union, types.UnionType):
        return any(_fits(value, choice) for choice in get_args(hint))
    if origin is Literal:
        return value in get_args(hint)
    if origin in (tuple, list):
        return isinstance(value, list)
    if origin in (int, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    if origin is bool:
        return value is None or isinstance(value, bool)  # older files have null for false
    return isinstance(value, origin) if isinstance(origin, type) else True
