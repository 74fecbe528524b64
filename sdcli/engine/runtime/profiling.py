"""What a piece of work costs: seconds, and the most memory that it took."""

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

_BRIEF = 1.0
"""Seconds below which work is done twice, since the first time pays for warming up."""


@dataclass(frozen=True, kw_only=True)
class Profile(Generic[T]):
    """A result and its cost; `peak_bytes` is beyond what was held before, None if unknown."""

    result: T
    seconds: float
    peak_bytes: int | None


def profile(work: Callable[[], T], device: torch.device) -> Profile[T]:
    """Do the work, twice when it is brief, and take the quicker time."""
    before = _start(device)
    result, seconds = _timed(work, device)
    peak = _peak(device)
    if seconds < _BRIEF:
        result, again = _timed(work, device)
        seconds = min(seconds, again)
    taken = None if before is None or peak is None else max(0, peak - before)
    return Profile(result=result, seconds=seconds, peak_bytes=taken)


def _timed(work: Callable[[], T], device: torch.device) -> tuple[T, float]:
    started = time.perf_counter()
    result = work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return result, time.perf_counter() - started


def _start(device: torch.device) -> int | None:
    """Forget the peak so far; the bytes held now."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
        return _status("VmRSS")
    return None


def _peak(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with suppress(OSError):
        return _status("VmHWM")
    return None


def _status(name: str) -> int | None:
    """Bytes that Linux tells of this process."""
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else None
