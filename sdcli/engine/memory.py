"""Memory: how many images fit in a batch, and what running out of it looks like."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from sdcli.plan import Job

if TYPE_CHECKING:
    from sdcli.engine.loading import LoadedPipeline

CPU_BATCH_PIXELS = 8 * 128 * 128
"""Pixels in flight that keep a CPU busy: larger batches are no faster, only larger."""

BYTES_PER_PIXEL = 3072
"""Peak bytes an output pixel costs, per byte of dtype: the VAE's decoder, 256 channels at full
size and about a dozen live copies. An estimate on the safe side; a wrong one halves the batch."""

_LARGEST_BATCH = 64


def auto_batch_size(loaded: LoadedPipeline, job: Job) -> int:
    """How many jobs of this size to run at once, at least 1."""
    pixels = job.width * job.height
    if loaded.device.type != "cuda":
        return max(1, CPU_BATCH_PIXELS // pixels)
    free, _total = torch.cuda.mem_get_info(loaded.device)
    fitting = int(free * 0.8) // (pixels * BYTES_PER_PIXEL * loaded.dtype.itemsize)
    return max(1, min(_LARGEST_BATCH, fitting))


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether the error says that memory ran out: CPU and MPS raise plain RuntimeErrors for it."""
    told = ("DefaultCPUAllocator", "out of memory")
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in told)


def release() -> None:
    """Give cached blocks back before trying again with less."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
