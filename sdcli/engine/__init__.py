"""Torch and Diffusers: jobs in, images out. The only room that imports them, and it never writes.

The names below import their module, and with it seconds of libraries, when they are first used.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sdcli.engine.denoise.generate import generate_batch
    from sdcli.engine.denoise.resume import find_resume_point
    from sdcli.engine.loading.pipeline import LoadedPipeline, auto_batch_size, load
    from sdcli.engine.loading.vae import LoadedVae, load_vae
    from sdcli.engine.runtime.devices import Device, list_devices

__all__ = [
    "Device",
    "LoadedPipeline",
    "LoadedVae",
    "auto_batch_size",
    "find_resume_point",
    "generate_batch",
    "list_devices",
    "load",
    "load_vae",
]

_HOMES = {
    "Device": "runtime.devices",
    "LoadedPipeline": "loading.pipeline",
    "LoadedVae": "loading.vae",
    "auto_batch_size": "loading.pipeline",
    "generate_batch": "denoise.generate",
    "list_devices": "runtime.devices",
    "load": "loading.pipeline",
    "load_vae": "loading.vae",
    "find_resume_point": "denoise.resume",
}

import_seconds = 0.0
"""Time that the imports behind these names have taken so far."""

# Read when the libraries are imported, so they must be set before. What the user set wins.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
if not sys.stderr or not sys.stderr.isatty():
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


@contextmanager
def _uncollected() -> Iterator[None]:
    """No garbage collection meanwhile: these imports make a million objects and hardly any garbage.

    Looking through them again and again is a fifth of the time of importing. Afterwards they count
    as old, so that the first collection is not of them either.
    """
    collecting, frozen = gc.isenabled(), gc.get_freeze_count()
    gc.disable()
    try:
        yield
    finally:
        if not frozen:  # by whoever imports us
            gc.freeze()
            gc.unfreeze()
        if collecting:
            gc.enable()


def __getattr__(name: str) -> Any:
    global import_seconds
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    started = time.perf_counter()
    with _uncollected():
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    import_seconds += time.perf_counter() - started
    globals()[name] = value
    return value
