"""List the devices of this machine, and choose the device and dtype of a pipeline."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from accelerate import PartialState

from sdcli.errors import DeviceError
from sdcli.fields.execution import check_device
from sdcli.job import Job
from sdcli.pipeline_spec import TORCH, PipelineSpec
from sdcli.planning.backend_check import check_backend
from sdcli.shard import Shard

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
"""The values of `--dtype`."""

LARGE_UNET_BYTES = 500_000_000
"""Size of the UNet's weight files from which bfloat16 pays on a CPU."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """One device: its name for `--device`, a description, and whether `auto` selects it.

    `free_bytes` is what is free of a GPU's own memory, None if it has none.
    """

    name: str
    description: str
    is_default: bool
    free_bytes: int | None = None


def list_devices() -> list[Device]:
    """Return all devices of this machine, with the default one marked."""
    default = _default_device()
    threads = torch.get_num_threads()
    descriptions = {"cpu": f"{threads} thread{'s' if threads > 1 else ''}"}
    free = {}
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        gibibytes = properties.total_memory / 2**30
        name = f"cuda:{index}"
        free[name] = torch.cuda.mem_get_info(index)[0]
        left = f"{free[name] / 2**30:.1f} free"
        descriptions[name] = f"{properties.name}, {gibibytes:.1f} GiB, {left}"
    if torch.backends.mps.is_available():
        descriptions["mps"] = "Apple GPU"
    return [
        Device(
            name=name,
            description=text,
            is_default=name in (default, f"{default}:0"),
            free_bytes=free.get(name),
        )
        for name, text in descriptions.items()
    ]


def device_of(spec: PipelineSpec) -> torch.device:
    """Return the device that the pipeline of a spec runs on: with OpenVINO the CPU.

    Raises DeviceError if there is none of that name, and UsageError for a backend that cannot run
    there, or is not installed.
    """
    check_backend(spec)
    return resolve(spec.device) if spec.backend == TORCH else torch.device("cpu")


def check_execution(job: Job) -> None:
    """Raise UsageError for options of a job that have no effect on its device."""
    check_device(job.offload, job.vram, device_of(job.spec).type)


def resolve(name: str) -> torch.device:
    """Return the device of that name on this machine; `auto` is the default device.

    Raises DeviceError, with the names that exist, if there is none.
    """
    if name == "auto":
        return torch.device(_default_device())
    names = [device.name for device in list_devices()]
    if name in names or (name == "cuda" and "cuda:0" in names):
        return torch.device(name)
    raise DeviceError(
        f"no device {name!r} on this machine",
        code="device.missing",
        hint=f"available: {', '.join(names)}",
    )


def resolve_dtype(name: str | None, device: torch.device, unet_bytes: int = 0) -> torch.dtype:
    """Return the named dtype, by default the one that suits the device.

    That is float16 on a GPU. On a CPU it is float32, or bfloat16 if the weights of the UNet,
    `unet_bytes` long, are those of a large model and the CPU has instructions for bfloat16.
    """
    if name is not None:
        return DTYPES[name]
    if device.type != "cpu":
        return torch.float16
    # Most CPUs compute float16 more slowly than float32, and torch lacks some kernels for it.
    is_large = unet_bytes >= LARGE_UNET_BYTES
    return torch.bfloat16 if is_large and has_fast_bfloat16() else torch.float32


def has_fast_bfloat16() -> bool:
    """Return whether this CPU has instructions that multiply bfloat16 numbers."""
    # Older releases of torch cannot tell.
    find = getattr(torch.cpu, "get_capabilities", None)
    capabilities = find() if find else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _default_device() -> str:
    shard = Shard.from_environment()
    if not shard.is_whole_run:
        # Not PartialState: it waits for all ranks, and one with nothing to do never comes here.
        return f"cuda:{shard.local_rank}" if torch.cuda.is_available() else "cpu"
    return str(PartialState().default_device.type)
