"""Consistency of the sampler and schedule tables."""

from __future__ import annotations

import pytest

from sdcli.catalog.schedulers.sampler_table import SAMPLERS
from sdcli.catalog.schedulers.sampler_types import Sampler
from sdcli.catalog.schedulers.sigma_schedules import SCHEDULES, get_schedule


def test_the_rows_name_schedules_that_exist():
    known = {schedule.name for schedule in SCHEDULES}
    for row in SAMPLERS:
        assert "Normal" in row.schedules
        assert {row.automatic, row.default_schedule or "Normal"} <= set(row.schedules) <= known
        assert set(row.unsupported_schedules) <= known - set(row.schedules)


def test_the_names_are_unique():
    for rows in (SAMPLERS, SCHEDULES):
        names = [name for row in rows for name in (row.name, *row.aliases)]
        assert len(names) == len(set(names))


def test_get_schedule_returns_the_row():
    assert [get_schedule(row.name) for row in SCHEDULES] == list(SCHEDULES)


@pytest.mark.parametrize(
    ("formula", "steps", "expected"),
    [("N", 5, 5), ("N+1", 5, 6), ("N+1", 1, 1), ("2N-1", 5, 9), ("2N-1", 1, 1)],
)
def test_unet_calls(formula, steps, expected):
    row = Sampler(name="x", class_name="X", order=1, unet_call_formula=formula)
    assert row.unet_calls(steps) == expected


@pytest.mark.parametrize("multistep", [True, False])
@pytest.mark.parametrize("stochastic", [True, False])
def test_only_deterministic_single_step_samplers_resume_from_latents(multistep, stochastic):
    row = Sampler(name="x", class_name="X", order=1, is_multistep=multistep, stochastic=stochastic)
    assert row.resumes_from_latents == (not multistep and not stochastic)
