"""Turn the options that divide a batch into the function that makes its images."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from sdcli.cluster_flags import ClusterFlags
from sdcli.errors import DeviceError, ExitCode, UsageError, quoted
from sdcli.shard import Shard

if TYPE_CHECKING:
    from sdcli.runner.options import RunOptions


def check_cluster(cluster: ClusterFlags, options: RunOptions, device: str | None) -> None:
    """Check before files are read that a run can be divided as asked. Raises UsageError.

    `device` is the one that was asked for.
    """
    if options.out == "-" and not options.find_shard().is_whole_run:
        raise UsageError(
            "--out -: a shard of a run can't be written to stdout",
            code="usage.shard",
            hint="give --out a folder, whose journal tells the shares apart",
        )
    chosen = [
        flag
        for flag, value in (("--workers", cluster.workers), ("--gpus", cluster.gpus))
        if value is not None
    ]
    chosen += ["--ray"] if cluster.ray is not None else []
    if not chosen:
        return
    flag = chosen[-1]
    if cluster.ray is not None:
        from sdcli.distributed.ray_connection import check_address

        check_address(cluster.ray)
    if cluster.gpus is not None:
        _check_gpu_list(cluster.gpus)
        _check_gpu_device(device)
    reason = hint = None
    if len(chosen) > 1 and chosen != ["--workers", "--ray"]:
        reason, hint = f"can't be used with {chosen[0]}", "each GPU has one process"
    elif options.out == "-":
        reason, hint = "can't write to stdout", "give --out a folder, whose journal they share"
    elif options.out.startswith("memory://"):
        reason, hint = "can't write to memory://", "each process has a memory of its own"
    elif options.preview:
        reason, hint = "has no preview: images form in other processes", "leave --preview out"
    elif not Shard.from_environment().is_whole_run:
        reason, hint = "can't be used with torchrun", "torchrun starts the processes itself"
    if reason:
        raise UsageError(f"{flag} {reason}", code="usage.workers", hint=hint)


def find_runner(cluster: ClusterFlags) -> Callable[..., ExitCode]:
    """The function that runs a batch: in this process, in workers, or on Ray.

    Raises DeviceError for a GPU that is not there, and UsageError without Ray.
    """
    if cluster.ray is not None:
        from sdcli.distributed.ray_connection import check_package
        from sdcli.distributed.ray_run import run_on_ray

        check_package()
        return partial(run_on_ray, address=cluster.ray, workers=cluster.workers)
    if cluster.workers is None and cluster.gpus is None:
        from sdcli.runner.deliver import run

        return run
    from sdcli.distributed.local_run import run_with_workers
    from sdcli.distributed.worker_pool import worker_environments

    devices = _find_gpus(cluster.gpus) if cluster.gpus is not None else None
    count = len(devices) if devices is not None else cluster.workers or 1
    return partial(run_with_workers, environments=worker_environments(count, devices))


def _check_gpu_list(text: str) -> None:
    numbers = text.strip().split(",")
    if text.strip() != "all" and not all(re.fullmatch(r"\s*[0-9]{1,4}\s*", n) for n in numbers):
        reason = "is not all or a list of numbers"
    elif text.strip() != "all" and len({*map(int, numbers)}) < len(numbers):
        reason = "names a GPU twice"
    else:
        return
    raise UsageError(f"--gpus: {quoted(text)} {reason}", code="usage.gpus", hint="e.g. --gpus 0,1")


def _check_gpu_device(device: str | None) -> None:
    # A process sees its own GPU alone, as cuda:0.
    if device not in (None, "auto", "cuda"):
        raise UsageError(
            f"--gpus can't be used with --device {device}",
            code="usage.gpus",
            hint="leave --device out, or choose the GPU by number: --gpus 1",
        )


def _find_gpus(text: str) -> list[str]:
    """The GPUs of a list as CUDA_VISIBLE_DEVICES names them."""
    from sdcli.engine.runtime.devices import list_devices

    present = [device.name for device in list_devices() if device.name.startswith("cuda:")]
    # A scheduler may have left this process some of the machine's GPUs, which count from 0 again.
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    names = dict(enumerate(visible or map(str, range(len(present)))))
    wanted = list(range(len(present))) if text.strip() == "all" else [*map(int, text.split(","))]
    missing = [number for number in wanted if number >= len(present)]
    if missing or not wanted:
        there = f"it has {len(present)}" if present else "it has none that PyTorch can use"
        raise DeviceError(
            f"--gpus {text}: no such GPU on this machine; {there}",
            code="device.missing",
            hint="sdcli doctor lists them; --workers N divides the CPU's cores",
        )
    return [names[number] for number in wanted]
