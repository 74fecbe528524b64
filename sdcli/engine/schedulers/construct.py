"""Construct Diffusers schedulers, each configuration once."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from functools import lru_cache
from typing import Any


def pickle_settings(config: Mapping[str, Any], options: Mapping[str, object]) -> bytes:
    """Return what `construct` takes: a configuration, and options that override it."""
    return pickle.dumps((dict(config), dict(options)))


def construct(cls: Any, settings: bytes) -> Any:
    """Return a new scheduler, as `cls.from_config(config, **options)` would."""
    return copy.deepcopy(_construct(cls, settings))


# KDPM2's classes compute all trained timesteps one by one, which takes as long as some images.
@lru_cache(maxsize=64)
def _construct(cls: Any, settings: bytes) -> Any:
    config, options = pickle.loads(settings)
    return cls.from_config(config, **options)
