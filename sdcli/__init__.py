"""Generate images with Stable Diffusion, on the command line or from Python.

    import sdcli

    [result] = sdcli.generate("a cat and a guitar", steps=8, seed=7)
    result.image  # a PIL image
    result.save("cat.png")  # with its record

    sdcli.batch("prompts.csv", out="outputs")  # resumes where an earlier run stopped

`generate` returns a result for each image, `batch` writes files. Both may be called from several
threads. Importing sdcli is fast: torch is imported with the first image.
"""

from __future__ import annotations

from sdcli import signals

# Before the imports that follow, here and in the module of the command line.
if signals.IS_PROGRAM:
    signals.install()

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sdcli.versions import __version__ as __version__

if TYPE_CHECKING:
    from sdcli.errors import SdcliError as SdcliError
    from sdcli.errors import SdcliWarning as SdcliWarning
    from sdcli.library.batches import BatchResult as BatchResult
    from sdcli.library.batches import batch as batch
    from sdcli.library.images import generate as generate
    from sdcli.library.result import GenerationResult as GenerationResult
    from sdcli.library.scheduler_list import SchedulerInfo as SchedulerInfo
    from sdcli.library.scheduler_list import schedulers as schedulers
    from sdcli.pipeline_spec import PipelineSpec as PipelineSpec
    from sdcli.request import GenerationRequest as GenerationRequest


_MODULES = {
    "BatchResult": "sdcli.library.batches",
    "GenerationRequest": "sdcli.request",
    "GenerationResult": "sdcli.library.result",
    "PipelineSpec": "sdcli.pipeline_spec",
    "SchedulerInfo": "sdcli.library.scheduler_list",
    "SdcliError": "sdcli.errors",
    "SdcliWarning": "sdcli.errors",
    "batch": "sdcli.library.batches",
    "generate": "sdcli.library.images",
    "schedulers": "sdcli.library.scheduler_list",
}
__all__ = [
    "BatchResult",
    "GenerationRequest",
    "GenerationResult",
    "PipelineSpec",
    "SchedulerInfo",
    "SdcliError",
    "SdcliWarning",
    "batch",
    "generate",
    "schedulers",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
