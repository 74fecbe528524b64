"""Which devices this machine has, and which one and which dtype a spec means."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from accelerate import PartialState

from sdcli.errors import DeviceError
from sdcli.shard import Shard

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class Device:
    """One device: the name that `--device` takes, what it is, and whether `auto` means it."""

    name: str
    description: str
    is_default: bool


def list_devices() -> list[Device]:
    """All devices of this machine, the default one marked."""
    default = _default()
    found = {"cpu": f"{torch.get_num_threads()} threads"}
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        found[f"cuda:{index}"] = f"{properties.name}, {properties.total_memory / 2**30:.1f} GiB"
    if torch.backends.mps.is_available():
        found["mps"] = "Apple GPU"
    return [
        Device(name=name, description=text, is_default=name in (default, f"{default}:0"))
        for name, text in found.items()
    ]


def resolve(name: str) -> torch.device:
    """The device that the name means here. Raises DeviceError naming those that exist."""
    if name == "auto":
        return torch.device(_default())
    known = [device.name for device in list_devices()]
    if name in known or (name == "cuda" and "cuda:0" in known):
        return torch.device(name)
    raise DeviceError(
        f"no device {name!r} on this machine",
        code="device.missing",
        hint=f"it has: {', '.join(known)}",
    )


def resolve_dtype(name: str | None, device: torch.device) -> torch.dtype:
    """The named dtype; left out, float32 on a CPU and float16 on anything faster."""
    if name is None:
        return torch.float32 if device.type == "cpu" else torch.float16
    return DTYPES[name]


def _default() -> str:
    shard = Shard.from_environment()
    if not shard.is_whole_run:
        # Not PartialState: it waits for all ranks, and one with nothing to do never comes here.
        return f"cuda:{shard.local_rank}" if torch.cuda.is_available() else "cpu"
    return str(PartialState().default_device.type)
