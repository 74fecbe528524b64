"""Measure the time and the peak memory of a piece of work."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch

T = TypeVar("T")

_REPEAT_BELOW_SECONDS = 1.0
"""Work that takes less is run twice, since warming up would dominate the first time."""


class PhaseTimer:
    """Measure the wall time of consecutive phases, in seconds by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._started = time.perf_counter()

    def finish(self, phase: str) -> None:
        """End the phase that began when the one before it ended."""
        now = time.perf_counter()
        self.seconds[phase] = now - self._started
        self._started = now


@dataclass(frozen=True, kw_only=True)
class Profile(Generic[T]):
    """A result with its cost.

    `peak_bytes` is the peak memory beyond what was in use before, None if unknown.
    """

    result: T
    seconds: float
    peak_bytes: int | None


def profile(work: Callable[[], T], device: torch.device) -> Profile[T]:
    """Run `work` and measure it. Short work runs twice, and the shorter time counts."""
    before = _reset_peak(device)
    result, seconds = _run_timed(work, device)
    peak = _read_peak(device)
    if seconds < _REPEAT_BELOW_SECONDS:
        result, second_time = _run_timed(work, device)
        seconds = min(seconds, second_time)
    used = None if before is None or peak is None else max(0, peak - before)
    return Profile(result=result, seconds=seconds, peak_bytes=used)


def _run_timed(work: Callable[[], T], device: torch.device) -> tuple[T, float]:
    started = time.perf_counter()
    result = work()
    if device.type == "cuda":
        # CUDA calls return before the GPU has finished.
        torch.cuda.synchronize(device)
    return result, time.perf_counter() - started


def _reset_peak(device: torch.device) -> int | None:
    """Reset the peak memory, and return the bytes in use now, None if unknown."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    with suppress(OSError):
        # Linux: writing 5 sets the peak (VmHWM) to the current size (VmRSS); see proc(5).
        Path("/proc/self/clear_refs").write_text("5")
        return _read_process_memory("VmRSS")
    return None


def _read_peak(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with suppress(OSError):
        return _read_process_memory("VmHWM")
    return None


def _read_process_memory(name: str) -> int | None:
    """Return a field of /proc/self/status in bytes, None if the kernel doesn't have it."""
    status = Path("/proc/self/status").read_text()
    match = re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)
    return int(match[1]) * 1024 if match else None
