"""Describe how a run is computed: where its models are kept, and whether they are compiled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sdcli.errors import UsageError
from sdcli.field_metadata import field_infos, setting

ON_DEVICE: Final = "none"
AUTO: Final = "auto"
RUNGS: Final = (ON_DEVICE, "model", "group", "sequential")
"""The ways to keep a model, the fastest first. Each needs less memory of the GPU than the last."""


@dataclass(frozen=True, kw_only=True)
class ExecutionFields:
    """How a request is computed. None of it changes what is drawn, up to rounding."""

    offload: str | None = setting(
        None,
        "--offload",
        choices=(*RUNGS, AUTO),
        help="Keep the models in main memory, and move to the GPU one model at a time (model), "
        "or layer by layer (group, sequential). auto does so when the GPU has too little memory; "
        "none never does.",
        resolved=AUTO,
    )
    vram: float | None = setting(
        None,
        "--vram",
        metavar="GB",
        help="Memory of the GPU that may be used, in GiB. auto, the default, is what is free.",
        minimum=1,
        maximum=10_000,
    )
    compile: bool = setting(
        False,
        "--compile",
        help="Compile the UNet with torch.compile, which takes a minute at first and makes each "
        "step faster. Needs a C++ compiler.",
    )


@dataclass(frozen=True, kw_only=True)
class ExecutionJobFields:
    """The same of a job."""

    offload: str = AUTO
    vram: float | None = None
    compile: bool = False


EXECUTION_FIELDS: Final = frozenset(field_infos(ExecutionFields))


def allowed_rungs(offload: str) -> tuple[str, ...]:
    """The rungs that a run may use, in their order: `auto` allows all, `none` only that one."""
    if offload == ON_DEVICE:
        return (ON_DEVICE,)
    return RUNGS if offload == AUTO else RUNGS[RUNGS.index(offload) :]


def check_device(offload: str | None, vram: float | None, device: str) -> None:
    """Raise UsageError for options that have no effect on a device other than a CUDA GPU."""
    if device.startswith(("cuda", AUTO)):
        return
    if offload not in (None, AUTO, ON_DEVICE):
        option, value = "offload", str(offload)
    elif vram is not None:
        option, value = "vram", f"{vram:g}"
    else:
        return
    where = "the CPU" if device == "cpu" else device
    raise UsageError(
        f"--{option}: {value} has no effect: on {where} the models are in main memory already",
        code=f"usage.{option}",
        hint=f"leave --{option} out, or use a GPU (--device cuda)",
    )
