"""Turn FreeU on for one run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sdcli.engine.loading.pipeline import LoadedPipeline
from sdcli.fields.freeu import parse_freeu
from sdcli.job import Job


@contextmanager
def applied_freeu(loaded: LoadedPipeline, job: Job) -> Iterator[None]:
    """Set the factors of a job's FreeU in the UNet, which loses them again on leaving.

    The refiner is not changed.
    """
    factors = parse_freeu(job.freeu)
    if factors is None:
        yield
        return
    unet = loaded.pipeline.unet
    unet.enable_freeu(**factors)
    try:
        yield
    finally:
        unet.disable_freeu()
