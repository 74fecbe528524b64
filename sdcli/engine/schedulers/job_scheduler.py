"""Build the scheduler of a batch of jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sdcli.engine.schedulers.build import build_scheduler, check_eta
from sdcli.engine.schedulers.late_start import start_late
from sdcli.job import Job

if TYPE_CHECKING:
    from sdcli.engine.loading.pipeline import LoadedPipeline


def build_for_jobs(loaded: LoadedPipeline, jobs: Sequence[Job]) -> Any:
    """Build the scheduler that the jobs of a batch share, with its timesteps set.

    Raises UsageError for options that it does not support.
    """
    job = jobs[0]
    scheduler = build_scheduler(
        loaded.base_scheduler,
        job.scheduler,
        steps=job.num_inference_steps,
        seeds=[job.seed for job in jobs],
    )
    check_eta(scheduler, job.eta)
    start_late(scheduler, job)
    return scheduler
