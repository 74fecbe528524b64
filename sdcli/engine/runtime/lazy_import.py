"""Import heavy libraries on first use, without garbage collection, and count the seconds."""

from __future__ import annotations

import gc
import importlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

from sdcli.engine.runtime.deferred_scipy import scipy_deferred

_import_seconds = 0.0

# Transformers and Diffusers import their own modules lazily, in circles that only one thread at a
# time can enter; and the garbage collector's state is the whole process's.
_import_lock = RLock()


def import_seconds() -> float:
    """Seconds that `load_attribute` has spent importing so far."""
    return _import_seconds


def forget_import_seconds() -> None:
    """Count from zero: what was imported so far took no time of the next run."""
    global _import_seconds
    _import_seconds = 0.0


def load_attribute(module: str, name: str) -> Any:
    """Import `module` and return its attribute `name`."""
    global _import_seconds
    with _import_lock:
        started = time.perf_counter()
        with _without_garbage_collection(), scipy_deferred():
            value = getattr(importlib.import_module(module), name)
        _import_seconds += time.perf_counter() - started
    return value


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    # Importing torch and Diffusers creates a million objects and hardly any garbage; collecting
    # meanwhile is a fifth of the import time. Freezing and unfreezing moves the new objects into
    # the oldest generation, so that the first collection afterwards skips them, too.
    collecting, frozen = gc.isenabled(), gc.get_freeze_count()
    gc.disable()
    try:
        yield
    finally:
        if not frozen:
            gc.freeze()
            gc.unfreeze()
        if collecting:
            gc.enable()
