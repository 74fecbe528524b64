"""Torch and Diffusers: jobs in, images out. The only room that imports them, and it never writes.

The names below import their module, and with it seconds of libraries, when they are first used.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sdcli.engine.devices import Device, list_devices
    from sdcli.engine.loading import LoadedPipeline, auto_batch_size, load
    from sdcli.engine.resume import start_from
    from sdcli.engine.sampling import generate
    from sdcli.engine.stack import versions
    from sdcli.engine.vaes import LoadedVae, load_vae

__all__ = [
    "Device",
    "LoadedPipeline",
    "LoadedVae",
    "auto_batch_size",
    "generate",
    "list_devices",
    "load",
    "load_vae",
    "start_from",
    "versions",
]

_HOMES = {
    "Device": "devices",
    "LoadedPipeline": "loading",
    "LoadedVae": "vaes",
    "auto_batch_size": "loading",
    "generate": "sampling",
    "list_devices": "devices",
    "load": "loading",
    "load_vae": "vaes",
    "start_from": "resume",
    "versions": "stack",
}

import_seconds = 0.0
"""Time that the imports behind these names have taken so far."""

# Read when the libraries are imported, so they must be set before. What the user set wins.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
if not sys.stderr or not sys.stderr.isatty():
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def __getattr__(name: str) -> Any:
    global import_seconds
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    started = time.perf_counter()
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    import_seconds += time.perf_counter() - started
    globals()[name] = value
    return value
