"""Generate images with torch and Diffusers. No other room of the package imports them.

The names below import their module, and with it the libraries, which takes seconds, on first use.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from sdcli.engine.runtime.lazy_import import forget_import_seconds, load_attribute
from sdcli.engine.runtime.thread_waiting import choose_thread_waiting

if TYPE_CHECKING:
    from sdcli.engine.denoise.generate import generate_batch
    from sdcli.engine.denoise.resume import find_resume_point
    from sdcli.engine.loading.pipeline import LoadedPipeline, auto_batch_size, load
    from sdcli.engine.loading.vae import LoadedVae, load_vae
    from sdcli.engine.runtime.devices import (
        Device,
        check_execution,
        device_of,
        has_fast_bfloat16,
        list_devices,
    )

__all__ = [
    "Device",
    "LoadedPipeline",
    "LoadedVae",
    "auto_batch_size",
    "check_execution",
    "device_of",
    "find_resume_point",
    "forget_import_seconds",
    "generate_batch",
    "has_fast_bfloat16",
    "list_devices",
    "load",
    "load_vae",
    "thread_waiting_reason",
]

_HOMES = {
    "Device": "runtime.devices",
    "LoadedPipeline": "loading.pipeline",
    "LoadedVae": "loading.vae",
    "auto_batch_size": "loading.pipeline",
    "check_execution": "runtime.devices",
    "generate_batch": "denoise.generate",
    "device_of": "runtime.devices",
    "has_fast_bfloat16": "runtime.devices",
    "list_devices": "runtime.devices",
    "load": "loading.pipeline",
    "load_vae": "loading.vae",
    "find_resume_point": "denoise.resume",
}

# The libraries read these when they are imported. Values that the user set are kept.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
if not sys.stderr or not sys.stderr.isatty():
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

thread_waiting_reason = choose_thread_waiting(os.environ)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = load_attribute(f"{__name__}.{_HOMES[name]}", name)
    globals()[name] = value
    return value
