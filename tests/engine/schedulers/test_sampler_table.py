"""Every row of the sampler table agrees with the Diffusers class that it names."""

from __future__ import annotations

import importlib
import inspect
from importlib.util import find_spec
from typing import Any

import pytest

from sdcli.catalog.schedulers.sampler_table import SAMPLERS
from sdcli.catalog.schedulers.sigma_schedules import SCHEDULES

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*algorithm_type:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Should have t[ab]:UserWarning"),
]

BASE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
}
KNOWN = {"use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas"}
ROWS = [
    pytest.param(
        row,
        id=row.name,
        marks=pytest.mark.skipif(
            row.package is not None and find_spec(row.package) is None,
            reason=f"needs {row.package}",
        ),
    )
    for row in SAMPLERS
]


def scheduler_class(row: Any) -> Any:
    return getattr(importlib.import_module("diffusers"), row.class_name)


def options(row: Any) -> set[str]:
    return set(inspect.signature(scheduler_class(row).__init__).parameters)


@pytest.mark.parametrize("row", ROWS)
def test_every_option_is_one_of_the_constructor(row):
    schedules = [schedule for schedule in SCHEDULES if schedule.name in row.schedules]
    named = set(row.config).union(*(schedule.config for schedule in schedules))
    assert named <= options(row)


@pytest.mark.parametrize("row", ROWS)
def test_the_schedules_of_a_class_are_all_offered_or_left_out_for_a_reason(row):
    told = (*row.schedules, *row.unsupported_schedules)
    assert KNOWN & options(row) <= {key for s in SCHEDULES if s.name in told for key in s.config}


def timesteps(row: Any, schedule: Any, steps: int) -> list[int]:
    """The timesteps of the row's options, overridden by those of the schedule."""
    scheduler = scheduler_class(row).from_config({**BASE, **row.config, **schedule.config})
    scheduler.set_timesteps(steps)
    return [int(t) for t in scheduler.timesteps]


@pytest.mark.parametrize("row", ROWS)
def test_every_spacing_differs_from_the_row_s_own_except_its_equal(row):
    own, *others = [schedule for schedule in SCHEDULES if schedule.name in row.schedules]
    for schedule in others:
        if schedule.name == row.default_schedule:
            assert timesteps(row, schedule, 5) == timesteps(row, own, 5)
        elif "timestep_spacing" in schedule.config:
            assert timesteps(row, schedule, 5) != timesteps(row, own, 5)


@pytest.mark.parametrize(
    "row", [row for row in SAMPLERS if row.unsupported_schedules], ids=lambda row: row.name
)
def test_the_reason_against_a_schedule_is_true(row):
    for schedule in [
        schedule for schedule in SCHEDULES if schedule.name in row.unsupported_schedules
    ]:
        options = {**BASE, **row.config, **schedule.config}
        scheduler = scheduler_class(row).from_config(options)
        scheduler.set_timesteps(5)
        if "last step would do nothing" in row.unsupported_schedules[schedule.name]:
            assert float(scheduler.sigmas[-2]) == pytest.approx(float(scheduler.sigmas[-1]))
        elif "diverges" in row.unsupported_schedules[schedule.name]:
            worst = max(float(denoised(row, options, steps).std()) for steps in (3, 4))
            assert worst > 2 > 1.2 > float(denoised(row, {**BASE, **row.config}, 4).std())
        else:
            assert timesteps(row, schedule, 5) == [999, 799, 599, 399, 199]


@pytest.mark.parametrize("row", ROWS)
def test_eta_is_an_argument_of_step_where_the_row_says_so(row):
    assert ("eta" in inspect.signature(scheduler_class(row).step).parameters) == row.takes_eta


def denoised(row: Any, config: dict[str, Any], steps: int) -> Any:
    """Run with a UNet that is exact for standard normal data: it returns the noise part of x."""
    import torch

    scheduler = scheduler_class(row).from_config(config)
    scheduler.set_timesteps(steps)
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn(1, 4, 4, 4, generator=generator) * scheduler.init_noise_sigma
    takes = inspect.signature(scheduler.step).parameters
    extra = {"generator": generator} if "generator" in takes else {}
    for timestep in scheduler.timesteps:
        seen = scheduler.scale_model_input(sample, timestep)
        alpha = scheduler.alphas_cumprod[int(timestep)]
        sample = scheduler.step((1 - alpha) ** 0.5 * seen, timestep, sample, **extra)[0]
    return sample


@pytest.mark.sample(5)
@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("row", ROWS)
def test_the_number_of_unet_calls_is_that_of_the_table_and_every_step_is_finite(row, steps):
    import torch

    for schedule in [s for s in SCHEDULES if s.name in row.schedules]:
        if schedule.package and find_spec(schedule.package) is None:
            continue
        assert len(timesteps(row, schedule, steps)) == row.unet_calls(steps)
        sample = denoised(row, {**BASE, **row.config, **schedule.config}, steps)
        assert torch.isfinite(sample).all(), schedule.name
        assert sample.abs().max() < 60, schedule.name
