"""Check whether a job can run on the backend that its request names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Final

from sdcli.errors import UsageError
from sdcli.job import Job
from sdcli.pipeline_spec import OPENVINO, PipelineSpec
from sdcli.request import REQUEST_FIELDS, GenerationRequest

_CODE: Final = "usage.backend"
_USE_TORCH: Final = "use --backend torch"

_UNSUPPORTED: Final = {
    "lora": "it changes weights, and those of OpenVINO were converted before",
    "controlnet": "it adds to the layers of the UNet, which OpenVINO runs as a whole",
    "ip_adapter": "it adds to the layers of the UNet, which OpenVINO runs as a whole",
    "pag_scale": "it changes the attention of the UNet, which OpenVINO runs as a whole",
    "compile": "OpenVINO compiles the UNet itself",
    "freeu": "it changes layers of the UNet, which OpenVINO runs as a whole",
    "feature_cache": "it leaves out layers of the UNet, which OpenVINO runs as a whole",
}
"""Fields of a job that OpenVINO cannot have set, and why."""

_DEFAULTS: Final = {field.name: field.default for field in fields(Job)}


def check_backend(spec: PipelineSpec) -> None:
    """Raise UsageError for a backend that is not installed, or cannot run as the spec asks."""
    from importlib.util import find_spec

    if spec.backend != OPENVINO:
        return
    if spec.device not in ("auto", "cpu"):
        raise UsageError(
            f"backend: openvino runs on the CPU, not on {spec.device}",
            code=_CODE,
            hint=f"leave --device out, or {_USE_TORCH}",
        )
    if spec.dtype == "float16":
        raise UsageError(
            "backend: openvino computes in float32 or bfloat16, not in float16",
            code=_CODE,
            hint="use --dtype bfloat16, or leave --dtype out",
        )
    if find_spec("openvino") is None:
        raise UsageError(
            "backend: openvino is not installed",
            code=_CODE,
            hint=f"pip install openvino, or {_USE_TORCH}",
        )


def backend_faults(job: Job) -> Iterator[UsageError]:
    """Yield the errors of a job's backend: `check_backend`, and each option that it cannot have."""
    if job.spec.backend != OPENVINO:
        return
    try:
        check_backend(job.spec)
    except UsageError as error:
        yield error
    if job.spec.weights_dtype:
        yield _unsupported_error("--weights-dtype", "OpenVINO has weights of its own")
    for name, reason in _UNSUPPORTED.items():
        if getattr(job, name) != _DEFAULTS[name]:
            yield _unsupported_error(REQUEST_FIELDS[name].flag, reason)


def check_layers_are_visible(request: GenerationRequest, option: str) -> None:
    """Raise UsageError for a backend that hides the attention layers, which `option` observes."""
    if request.spec.backend == OPENVINO:
        raise _unsupported_error(option, "it observes layers of the UNet, which OpenVINO hides")


def _unsupported_error(option: str, reason: str) -> UsageError:
    return UsageError(
        f"backend: openvino does not support {option}: {reason}",
        code=_CODE,
        hint=f"{_USE_TORCH}, or leave {option} out",
    )
