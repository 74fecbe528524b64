"""Choose batch sizes from the memory that earlier batches used, and recognise its exhaustion."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Final

import torch

from sdcli.errors import DeviceError

_MAIN_MEMORY: Final = torch.device("cpu")

CPU_BATCH_PIXELS: Final = 8 * 128 * 128
"""Pixels per batch that keep a CPU busy. Larger batches use more memory and are no faster."""

LARGEST_BATCH: Final = 64
"""Most images in a batch, whatever the memory."""

MEMORY_SHARE: Final = 0.8
"""Part of the free memory that a batch may use; other programs allocate from the rest."""


class MemoryModel:
    """Estimate how many images fit in a batch on a device, from the peaks of earlier batches.

    `kind` identifies images that need the same memory. On CUDA, until a batch of a kind was
    measured, its batch size is 1. On other devices the size only depends on the pixels.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._bytes_per_image: dict[Hashable, float] = {}
        self._limits: dict[Hashable, int] = {}

    def forget(self) -> None:
        """Forget what was measured: another run may have more memory or other images."""
        self._bytes_per_image.clear()
        self._limits.clear()

    def batch_size(self, kind: Hashable, pixels: int) -> int:
        """Return how many images of `kind`, of `pixels` pixels each, to denoise together (≥ 1)."""
        if self._device.type != "cuda":
            limit = self._limits.get(kind, LARGEST_BATCH)
            return max(1, min(limit, CPU_BATCH_PIXELS // pixels))
        return self.max_images(kind, free_bytes(self._device))

    def max_images(self, kind: Hashable, free: int) -> int:
        """Return how many images of `kind` fit in `free` bytes, from what was measured (≥ 1)."""
        if kind not in self._bytes_per_image:
            return 1
        fitting = int(MEMORY_SHARE * free / max(1.0, self._bytes_per_image[kind]))
        return max(1, min(self._limits.get(kind, LARGEST_BATCH), fitting))

    def record_out_of_memory(self, kind: Hashable, images: int) -> None:
        """Limit later batches of `kind` to half of `images`, which did not fit."""
        self._limits[kind] = max(1, images // 2)

    def record_peak(self, kind: Hashable, images: int, peak_bytes: int) -> None:
        """Record that a batch of `images` images of `kind` used `peak_bytes` at its peak."""
        # Memory that doesn't grow with the batch makes small batches look costly per image. The
        # maximum errs on the side of a batch that fits.
        earlier = self._bytes_per_image.get(kind, 0.0)
        self._bytes_per_image[kind] = max(earlier, peak_bytes / images)

    @contextmanager
    def recording(self, kind: Hashable, images: int) -> Iterator[None]:
        """Record the peak of the batch generated in the `with` block, unless it fails."""
        if self._device.type != "cuda":
            yield
            return
        torch.cuda.reset_peak_memory_stats(self._device)
        before = torch.cuda.memory_allocated(self._device)
        yield
        self.record_peak(kind, images, torch.cuda.max_memory_allocated(self._device) - before)


def free_bytes(device: torch.device) -> int:
    """Return the memory of a GPU that this process can still fill."""
    free, _total = torch.cuda.mem_get_info(device)
    # To the driver, blocks that torch caches for reuse are in use.
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(free + cached)


_limited: Final[set[torch.device]] = set()


def limit_bytes(device: torch.device, limit: int | None) -> None:
    """Let this process use so many bytes of a GPU, None for all of them."""
    if device.type != "cuda" or (limit is None and device not in _limited):
        return
    _free, total = torch.cuda.mem_get_info(device)
    torch.cuda.set_per_process_memory_fraction(min(1.0, (limit or total) / total), device)
    _limited.add(device)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether the error says that memory ran out."""
    # Only CUDA has an exception class for it: the CPU and MPS raise plain RuntimeErrors.
    texts = ("DefaultCPUAllocator", "out of memory")
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in texts)


@contextmanager
def out_of_memory_as_device_error(name: str, device: torch.device = _MAIN_MEMORY) -> Iterator[None]:
    """Translate running out of memory in the `with` block: `name` does not fit on the device.

    Raises DeviceError.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise DeviceError(
            f"{name} does not fit into the memory of {device}",
            code="device.memory",
            hint="try --dtype float16" + (" or --device cpu" if device.type != "cpu" else ""),
        ) from error


def empty_cache() -> None:
    """Return torch's cached CUDA blocks to the driver, before trying again with less."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
