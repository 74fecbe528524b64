"""Check whether the weights of a job's UNet can be stored in 8 bits."""

from __future__ import annotations

from collections.abc import Iterator

from sdcli.errors import UsageError
from sdcli.job import Job


def weights_dtype_faults(job: Job) -> Iterator[UsageError]:
    """Yield the error of LoRAs for weights of 8 bits."""
    if job.spec.weights_dtype and job.lora:
        yield UsageError(
            "weights_dtype: fp8 has too few digits for what a LoRA adds to the weights",
            code="usage.weights_dtype",
            hint="leave one of them out",
        )
