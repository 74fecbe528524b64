"""Profiles return the result of the work with its time and peak memory."""

from __future__ import annotations

import pytest
import torch

from sdcli.engine.runtime import profiling
from sdcli.engine.runtime.profiling import PhaseTimer, profile

CPU = torch.device("cpu")


def test_short_work_runs_twice_and_its_last_result_is_returned() -> None:
    calls: list[int] = []

    def work() -> int:
        calls.append(1)
        return len(calls)

    measured = profile(work, CPU)
    assert (measured.result, len(calls)) == (2, 2)
    assert 0 <= measured.seconds < 1


def test_long_work_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "_REPEAT_BELOW_SECONDS", 0.0)
    calls: list[int] = []
    profile(lambda: calls.append(1), CPU)
    assert len(calls) == 1


def test_the_peak_counts_memory_that_was_freed_again() -> None:
    size = 2**26
    # Outside of Linux the peak is unknown.
    measured = profile(lambda: torch.ones(size, dtype=torch.uint8).sum().item(), CPU)
    assert measured.peak_bytes is None or measured.peak_bytes > size // 2


def test_an_error_in_the_work_is_passed_on() -> None:
    with pytest.raises(ZeroDivisionError):
        profile(lambda: 1 // 0, CPU)


def test_a_timer_has_the_seconds_of_each_phase_by_name() -> None:
    timer = PhaseTimer()
    timer.finish("encode")
    timer.finish("denoise")
    assert list(timer.seconds) == ["encode", "denoise"]
    assert all(seconds >= 0 for seconds in timer.seconds.values())
