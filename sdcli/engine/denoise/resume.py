"""Going on from a dump: what must be known to begin at one of its steps, and whether it is."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from sdcli.catalog.schedulers.resolve import model_scheduler
from sdcli.engine.denoise.injection import nearest_step, scale_model_input_at
from sdcli.engine.loading.pipeline import LoadedPipeline
from sdcli.engine.schedulers.build import build_scheduler
from sdcli.engine.schedulers.noise_levels import timestep_sigmas
from sdcli.errors import CorruptError, UsageError
from sdcli.job import Job
from sdcli.latents import MODEL_OUTPUT, NOISE, RESUMED_PREFIX, X0, XT, LatentsSource, ResumePoint


def find_resume_point(
    loaded: LoadedPipeline, job: Job, was: Job, dump: LatentsSource, step: int
) -> ResumePoint:
    """Where `job` goes on after `step` scheduler steps of the run of `was`, which left `dump`.

    With the same scheduler and steps, what the UNet said is replayed: all goes on to the bit. With
    others the latents are put in at the step nearest in noise. Raises UsageError when the dump
    lacks what that takes.
    """
    if not 0 <= step < dump.num_steps:
        raise UsageError(
            f"--from-step: {step} is not between 0 and {dump.num_steps - 1}",
            code="usage.from_step",
            hint=f"that run has {dump.num_steps} steps; `sdcli latents decode` shows its end",
        )
    _check_shape(loaded, was, dump)
    same = _walk(job) == _walk(was)
    if same and _is_recorded(dump, step):
        outputs = tuple(dump.tensor(MODEL_OUTPUT, i) for i in range(1, step + 1))
        return ResumePoint(
            outputs=outputs, noise=dump.tensor_by_name(NOISE), notes=_notes(job, was, dump, step)
        )
    scheduler = _scheduler(loaded, was)
    notes = _notes(job, was, dump, step)
    if same:
        _refuse_what_remembers(scheduler, was, dump, step)
        return ResumePoint(latents=dump.tensor(XT, step), step=step, notes=notes)
    if step == 0:  # nothing was walked yet, and a zero-SNR schedule has no finite level there
        told = f"{job.scheduler_label} begins with the noise of {dump.path.name}"
        return ResumePoint(noise=dump.tensor_by_name(NOISE), notes=(*notes, told))
    start = _inject_latents(scheduler, dump, step)
    return replace(start, notes=(*notes, _new_walk(loaded, job, start)))


def _check_shape(loaded: LoadedPipeline, was: Job, dump: LatentsSource) -> None:
    channels, scale = loaded.pipeline.unet.config.in_channels, loaded.pipeline.vae_scale_factor
    if dump.shape[0] != channels:
        raise UsageError(
            f"{dump.path}: latents of {dump.shape[0]} channels, {was.spec.model} has {channels}",
            code="latents.channels",
            hint="they are another model's",
        )
    if dump.shape[1:] != (was.height // scale, was.width // scale):
        raise CorruptError(
            f"{dump.path}: latents of {dump.shape[2]}x{dump.shape[1]}, "
            f"and its record tells of a picture of {was.width}x{was.height}",
            code="latents.corrupt",
            hint="make or copy the file again",
        )


def _walk(job: Job) -> tuple[object, ...]:
    """What makes one walk the continuation of another."""
    return job.scheduler, job.num_inference_steps, job.eta, job.seed


def _is_recorded(dump: LatentsSource, step: int) -> bool:
    said = set(dump.steps(MODEL_OUTPUT))
    return 0 in dump.steps(XT) and said.issuperset(range(1, step + 1))


def _refuse_what_remembers(scheduler: Any, was: Job, dump: LatentsSource, step: int) -> None:
    """Without a record of its steps only a class without memory or chance can go on exactly."""
    if not was.eta and model_scheduler(type(scheduler).__name__).resumes_from_latents:
        return
    raise UsageError(
        f"{dump.path}: {was.scheduler_label} goes on from its earlier steps or from random numbers,"
        f" and the file lacks the noise or what the UNet said in steps 1 to {step}",
        code="latents.no_history",
        hint="dump them with --save-latents all; or go on with another --scheduler",
    )


def _scheduler(loaded: LoadedPipeline, job: Job) -> Any:
    return build_scheduler(
        loaded.base_scheduler, job.scheduler, steps=job.num_inference_steps, seeds=[job.seed]
    )


def _inject_latents(scheduler: Any, dump: LatentsSource, step: int) -> ResumePoint:
    """The latents after `step` steps as any scheduler can take them up."""
    sigma = timestep_sigmas(scheduler)[step]
    latents = torch.from_numpy(np.array(dump.tensor(XT, step), np.float32))[None]
    seen = scale_model_input_at(scheduler, latents, step)[0].numpy()
    direction = None
    if step in dump.steps(X0):
        direction = (seen * math.hypot(1, sigma) - dump.tensor(X0, step)) / sigma
    return ResumePoint(latents=seen, direction=direction, sigma=sigma)


def _notes(job: Job, was: Job, dump: LatentsSource, step: int) -> tuple[str, ...]:
    """For the record: it cannot say by itself that the steps before were another job's."""
    names = ["prompt", "negative_prompt", "guidance_scale", "guidance_rescale", "clip_skip"]
    names.append("num_inference_steps")
    changed = [f"{n} {getattr(was, n)!r}" for n in names if getattr(was, n) != getattr(job, n)]
    if was.scheduler != job.scheduler:
        changed.append(f"scheduler {was.scheduler_label!r}")
    earlier = tuple(e for e in dump.record.get("events", ()) if str(e).startswith(RESUMED_PREFIX))
    if not changed:
        return earlier
    return (
        *earlier,
        f"{RESUMED_PREFIX} {step} are those of {dump.path.name}, with {', '.join(changed)}",
    )


def _new_walk(loaded: LoadedPipeline, job: Job, start: ResumePoint) -> str:
    scheduler = _scheduler(loaded, job)
    levels = timestep_sigmas(scheduler)
    first = nearest_step(levels, start.sigma, pairs=scheduler.order == 2)
    return (
        f"{job.scheduler_label} goes on at its step {first + 1} of {len(levels)}: noise level "
        f"{levels[first]:.4g}, the latents had {start.sigma:.4g}"
    )
