"""Generate images with Stable Diffusion, on the command line or from Python.

    from sdcli import GenerationRequest, generate

    [result] = generate(GenerationRequest(prompt="a cat and a guitar", seed=7))
    result.pixels  # (height, width, 3) uint8

`generate` takes one request or several and returns a result for each image, without writing files.
It may be called from several threads. Importing sdcli is fast: torch is imported with the first
image.
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
    from sdcli.pipeline_spec import PipelineSpec as PipelineSpec
    from sdcli.request import GenerationRequest as GenerationRequest
    from sdcli.result import GenerationResult as GenerationResult
    from sdcli.runner.loop import generate as generate


_MODULES = {
    "GenerationRequest": "sdcli.request",
    "GenerationResult": "sdcli.result",
    "PipelineSpec": "sdcli.pipeline_spec",
    "SdcliError": "sdcli.errors",
    "generate": "sdcli.runner.loop",
}
__all__ = ["GenerationRequest", "GenerationResult", "PipelineSpec", "SdcliError", "generate"]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
