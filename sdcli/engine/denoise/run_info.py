"""Collect everything known about the images of a batch before their first step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sdcli.engine.denoise.run_part import RunPart
from sdcli.engine.loading.pipeline import LoadedPipeline
from sdcli.engine.schedulers.describe import public_config, run_sigmas, timesteps
from sdcli.engine.schedulers.late_start import skipped_calls
from sdcli.engine.vae.memory_order import memory_order
from sdcli.engine.vae.upcast import must_upcast
from sdcli.fields.execution import ON_DEVICE
from sdcli.job import Job
from sdcli.result import RunInfo, SecondPass


def describe_runs(
    loaded: LoadedPipeline,
    jobs: Sequence[Job],
    scheduler: Any,
    parts: Sequence[RunPart],
    second_pass: SecondPass | None = None,
    *,
    compiled: bool = False,
) -> list[RunInfo]:
    """Return one RunInfo per job. The scheduler must have its timesteps set.

    A run from an image has only the timesteps that it runs, and begins with the latents themselves.
    """
    skipped = skipped_calls(scheduler, jobs[0])
    refined = parts[1:]
    run = RunInfo(
        job=jobs[0],
        timesteps=timesteps(scheduler)[skipped:],
        sigmas=run_sigmas(scheduler, skipped),
        scheduler_class=type(scheduler).__name__,
        scheduler_config=public_config(scheduler),
        init_noise_sigma=1.0 if jobs[0].image else float(scheduler.init_noise_sigma),
        batch_size=len(jobs),
        dtype=str(loaded.dtype).removeprefix("torch."),
        device=str(loaded.device),
        refiner_call=refined[0].first_call + 1 if refined else None,
        compiled=compiled,
        offload=None if loaded.placement.rung == ON_DEVICE else loaded.placement.rung,
        vae_dtype="float32" if must_upcast(loaded.pipeline) else None,
        vae_order=memory_order(loaded.pipeline.vae),
        second_pass=second_pass,
    )
    return [replace(run, job=job) for job in jobs]
