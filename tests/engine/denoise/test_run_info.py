"""RunInfo has the facts of the scheduler that runs, once per job."""

from __future__ import annotations

from typing import Any

import pytest

from sdcli.catalog.schedulers.sampler_table import SAMPLERS
from sdcli.engine.denoise.run_info import describe_runs
from sdcli.engine.denoise.run_part import plan_parts
from sdcli.engine.schedulers.build import build_scheduler
from tests.engine.sampler_jobs import STEPS, make_sampler_job


@pytest.mark.parametrize("row", SAMPLERS, ids=lambda row: row.name)
def test_a_run_is_described_before_its_first_step(loaded: Any, row: Any) -> None:
    jobs = [make_sampler_job(row, index=i, seed=i) for i in range(3)]
    scheduler = build_scheduler(
        loaded.base_scheduler, jobs[0].scheduler, steps=STEPS, seeds=[0, 1, 2]
    )
    runs = describe_runs(loaded, jobs, scheduler, plan_parts(loaded, jobs, scheduler))
    assert [run.job for run in runs] == jobs
    assert {run.batch_size for run in runs} == {3}
    assert {run.scheduler_class for run in runs} == {row.class_name}
    assert len(runs[0].timesteps) == row.unet_calls(STEPS)
    assert (runs[0].dtype, runs[0].device) == ("float32", "cpu")
    assert runs[0].init_noise_sigma >= 1
