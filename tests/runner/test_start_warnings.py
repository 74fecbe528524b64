"""Runs that begin too late are warned of once, and each kind is looked at once."""

from __future__ import annotations

import pytest

from sdcli.catalog.schedulers.resolve import SchedulerConfig
from sdcli.runner import start_warnings
from sdcli.runner.start_warnings import StartWarnings
from tests.jobs import make_job

LEADING = SchedulerConfig(
    class_name="EulerDiscreteScheduler", config=(("timestep_spacing", "leading"),)
)


def test_a_kind_of_run_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, told = [], []
    look = start_warnings.known_late_start

    def count(*key: object) -> str | None:
        asked.append(key)
        return look(*key)  # type: ignore[arg-type]

    monkeypatch.setattr(start_warnings, "known_late_start", count)
    warnings = StartWarnings(told.append)
    for index in range(30):
        steps = (1, 20, 30)[index % 3]
        warnings.check(make_job(index=index, scheduler=LEADING, num_inference_steps=steps))
    assert len(asked) == 3
    assert len(told) == 1
    assert "EulerDiscreteScheduler with 1 step begins at" in told[0]


def test_what_is_remembered_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start_warnings, "_MOST_CHECKED", 2)
    told: list[str] = []
    warnings = StartWarnings(told.append)
    for steps in (1, 20, 30, 1):
        warnings.check(make_job(scheduler=LEADING, num_inference_steps=steps))
    assert len(told) == 1
