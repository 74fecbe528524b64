"""Memory: what an image takes of it, as measured, and what running out of it looks like."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Final

import torch

CPU_BATCH_PIXELS: Final = 8 * 128 * 128
"""Pixels in flight that keep a CPU busy: larger batches are no faster, only larger."""

LARGEST_BATCH: Final = 64
SHARE: Final = 0.8
"""The part of the free memory that a batch may take: other programs draw on it, too."""


class MemoryModel:
    """How many images fit in a batch on a device: on CUDA by what earlier ones took at their peak.

    Until one of a kind was measured, a batch of it is one image.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._bytes: dict[Hashable, float] = {}
        self._most: dict[Hashable, int] = {}

    def batch_size(self, kind: Hashable, pixels: int) -> int:
        """How many images of `kind`, each of so many pixels, to denoise at once; at least 1."""
        if self._device.type != "cuda":
            return max(1, min(self._most.get(kind, LARGEST_BATCH), CPU_BATCH_PIXELS // pixels))
        return self.max_images(kind, _free(self._device))

    def max_images(self, kind: Hashable, free: int) -> int:
        """How many images of `kind` `free` bytes hold, by what was measured."""
        if kind not in self._bytes:
            return 1
        fitting = int(SHARE * free / max(1.0, self._bytes[kind]))
        return max(1, min(self._most.get(kind, LARGEST_BATCH), fitting))

    def record_out_of_memory(self, kind: Hashable, images: int) -> None:
        """A batch of so many images of `kind` did not fit: no later one is larger than its half."""
        self._most[kind] = max(1, images // 2)

    def record_peak(self, kind: Hashable, images: int, taken: int) -> None:
        """A batch of so many images of `kind` took that many bytes at its peak."""
        self._bytes[kind] = max(self._bytes.get(kind, 0.0), taken / images)

    @contextmanager
    def recording(self, kind: Hashable, images: int) -> Iterator[None]:
        """Learn from what happens within; a batch that fails teaches nothing."""
        if self._device.type != "cuda":
            yield
            return
        torch.cuda.reset_peak_memory_stats(self._device)
        before = torch.cuda.memory_allocated(self._device)
        yield
        self.record_peak(kind, images, torch.cuda.max_memory_allocated(self._device) - before)


def _free(device: torch.device) -> int:
    """Bytes that can still be had: the device's own, and what torch keeps for later."""
    free, _total = torch.cuda.mem_get_info(device)
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(free + kept)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether the error says that memory ran out: CPU and MPS raise plain RuntimeErrors for it."""
    told = ("DefaultCPUAllocator", "out of memory")
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in told)


def empty_cache() -> None:
    """Give cached blocks back before trying again with less."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
