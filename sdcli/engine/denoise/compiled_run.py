"""Decide whether a run is compiled, and compile it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sdcli.engine.loading.pipeline import LoadedPipeline
from sdcli.fields.execution import ON_DEVICE
from sdcli.job import Job

_WHOLE = (ON_DEVICE, "model")
"""The rungs that leave the layers of a UNet where they are while it runs."""


@dataclass(frozen=True)
class Compiling:
    """Whether a run is compiled, and sentences about why it is not although it should be."""

    is_on: bool = False
    notes: tuple[str, ...] = ()


def choose_compiling(loaded: LoadedPipeline, job: Job, *, records: bool) -> Compiling:
    """Return whether to compile a run, of which something inside of the UNet may be recorded."""
    if not job.compile:
        return Compiling()
    rung = loaded.placement.rung
    if records:
        # Compiled blocks call no hooks: the recording would be empty, without an error.
        reason = "what is recorded inside of the UNet needs it as it is"
    elif job.lora or job.ip_adapter:
        reason = "LoRAs and IP-Adapters change its layers"
    elif rung not in _WHOLE:
        reason = f"--offload {rung} moves each of its layers"
    else:
        return Compiling(is_on=True)
    return Compiling(notes=(f"the UNet is not compiled: {reason}",))


@contextmanager
def compiled_run(loaded: LoadedPipeline, job: Job, *, records: bool) -> Iterator[Compiling]:
    """Run the UNets of a job compiled in the `with` block, if it asks for it and they can."""
    compiling = choose_compiling(loaded, job, records=records)
    if not compiling.is_on:
        yield compiling
        return
    # The compiler takes a second to import, which other runs need not wait for.
    from sdcli.engine.runtime.compiling import compiled

    with compiled(loaded.unets):
        yield compiling
