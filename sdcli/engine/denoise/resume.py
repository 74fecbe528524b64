"""Find the point where a run resumes from the saved latents of an earlier one."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch

from sdcli.catalog.schedulers.resolve import model_scheduler
from sdcli.engine.denoise.injection import nearest_step, scale_model_input_at
from sdcli.engine.loading.pipeline import LoadedPipeline
from sdcli.engine.runtime.diffusers_internals import steps_in_pairs
from sdcli.engine.schedulers.job_scheduler import build_for_jobs
from sdcli.engine.schedulers.late_start import skipped_calls
from sdcli.engine.schedulers.noise_levels import timestep_sigmas
from sdcli.errors import CorruptError, UsageError
from sdcli.fields.hires import HIRES_FIELDS
from sdcli.fields.image import INPUT_FIELDS, ImageJobFields
from sdcli.full_calls import is_full_call
from sdcli.guided_calls import keeps_difference
from sdcli.job import JOB_SETTINGS, Job
from sdcli.latents import MODEL_OUTPUT, NOISE, RESUMED_PREFIX, X0, XT, LatentsSource, ResumePoint
from sdcli.prompts.placeholders import job_value

_FIELDS_OF_NOTES = (
    "prompt",
    *(name for name in JOB_SETTINGS if name not in ("vae_tiling", *INPUT_FIELDS, *HIRES_FIELDS)),
)
"""Fields of a job whose changes are noted in the record of a resumed image."""


def find_resume_point(
    loaded: LoadedPipeline, job: Job, earlier_job: Job, source: LatentsSource, step: int
) -> ResumePoint:
    """Return the point where `job` resumes after `step` scheduler steps of an earlier run.

    `source` has the latents of the run of `earlier_job`. With the same scheduler and number of
    steps, the run continues bit for bit, by replaying the recorded UNet outputs where there are
    any. Otherwise it continues at the step nearest in noise level.

    Raises UsageError if the run has no such step, or the source lacks the tensors needed for it;
    CorruptError if the source contradicts its record.
    """
    _check_step(source, step)
    _check_shape(loaded, earlier_job, source)
    notes = _resume_notes(job, earlier_job, source, step)
    continues = _trajectory_key(job) == _trajectory_key(earlier_job)
    if continues:
        _check_features(job, earlier_job, source, step)
    if continues and _has_outputs(source, step):
        outputs = tuple(source.tensor(MODEL_OUTPUT, i) for i in range(1, step + 1))
        return ResumePoint(outputs=outputs, noise=source.tensor_by_name(NOISE), notes=notes)
    scheduler = build_for_jobs(loaded, [earlier_job])
    if continues:
        _check_resumes_from_latents(scheduler, earlier_job, source, step)
        return ResumePoint(latents=source.tensor(XT, step), step=step, notes=notes)
    if step == 0:
        # The latents are the noise itself, and with zero terminal SNR their sigma is infinite.
        note = f"{job.scheduler_label} starts from the noise of {source.path.name}"
        return ResumePoint(noise=source.tensor_by_name(NOISE), notes=(*notes, note))
    offset = skipped_calls(scheduler, earlier_job)
    point = _resume_by_sigma(scheduler, source, step, offset)
    return replace(point, notes=(*notes, _nearest_step_note(loaded, job, point)))


def _check_step(source: LatentsSource, step: int) -> None:
    if not 0 <= step < source.num_steps:
        raise UsageError(
            f"--from-step: {step} is not between 0 and {source.num_steps - 1}",
            code="usage.from_step",
            hint=f"the run has {source.num_steps} steps; for its last latents, "
            "use `sdcli latents decode`",
        )


def _check_shape(loaded: LoadedPipeline, earlier_job: Job, source: LatentsSource) -> None:
    channels, height, width = source.shape
    expected, scale = loaded.latent_shape
    if channels != expected:
        raise UsageError(
            f"{source.path}: the latents have {channels} channels, "
            f"but {earlier_job.spec.model} needs {expected}",
            code="latents.channels",
            hint="they were made by another model",
        )
    if (height, width) != (earlier_job.height // scale, earlier_job.width // scale):
        raise CorruptError(
            f"{source.path}: latents of {width}x{height} do not match the recorded "
            f"image size of {earlier_job.width}x{earlier_job.height}",
            code="latents.corrupt",
            hint="the file may be damaged; recreate or copy it again",
        )


def _trajectory_key(job: Job) -> tuple[object, ...]:
    """Return the settings that must be equal for one run to continue another exactly."""
    names = (f.name for f in fields(ImageJobFields) if f.name not in INPUT_FIELDS)
    image = tuple(getattr(job, name) for name in names)
    return job.scheduler, job.num_inference_steps, job.eta, job.seed, image


def _check_features(job: Job, earlier_job: Job, source: LatentsSource, step: int) -> None:
    """Raise UsageError if the next step used what an earlier one computed and nobody saved."""
    calls, options = source.num_steps, _reused_at(job, earlier_job, source.num_steps, step)
    if not options:
        return
    earlier = next(n for n in range(step, -1, -1) if not _reused_at(job, earlier_job, calls, n))
    [option, reused], *_ = options.items()
    hint = " ".join(f"{name.split()[0]} 1" for name in options)
    raise UsageError(
        f"--from-step: step {step + 1} used {reused} of an earlier one ({option}), which are not "
        "among the latents",
        code="usage.from_step",
        hint=f"use --from-step {earlier}, or {hint} for another image",
    )


def _reused_at(job: Job, earlier_job: Job, calls: int, call: int) -> dict[str, str]:
    """Return the options by which a UNet call used results of an earlier one, and the results."""
    reused = {}
    cache, every = job.feature_cache, job.guidance_every
    if cache == earlier_job.feature_cache and not is_full_call(call, calls, cache):
        reused[f"--feature-cache {cache}"] = "deep features"
    if every == earlier_job.guidance_every and keeps_difference(job, call, calls):
        reused[f"--guidance-every {every}"] = "differences"
    return reused


def _has_outputs(source: LatentsSource, step: int) -> bool:
    """Return whether the noise and the UNet output of every step up to `step` are recorded."""
    recorded = set(source.steps(MODEL_OUTPUT))
    return 0 in source.steps(XT) and recorded.issuperset(range(1, step + 1))


def _check_resumes_from_latents(
    scheduler: Any, earlier_job: Job, source: LatentsSource, step: int
) -> None:
    """Raise UsageError for a scheduler whose state is more than the latents.

    Multistep solvers need the outputs of earlier steps, stochastic ones the state of the generator.
    """
    if not earlier_job.eta and model_scheduler(type(scheduler).__name__).resumes_from_latents:
        return
    raise UsageError(
        f"{source.path}: {earlier_job.scheduler_label} cannot resume from the latents alone, and "
        f"the file lacks the noise or the UNet outputs of steps 1 to {step}",
        code="latents.no_history",
        hint="save them with --save-latents all, or resume with another --scheduler",
    )


def _resume_by_sigma(scheduler: Any, source: LatentsSource, step: int, offset: int) -> ResumePoint:
    """Return the latents after `step` steps in a form that every scheduler can resume from.

    The first step of the run is `offset` in the scheduler's own count.
    """
    sigma = timestep_sigmas(scheduler)[offset + step]
    latents = torch.from_numpy(np.array(source.tensor(XT, step), np.float32))[None]
    model_input = scale_model_input_at(scheduler, latents, offset + step)[0].numpy()
    direction = None
    if step in source.steps(X0):
        # In variance-exploding latents, x = x_0 + sigma * direction.
        direction = (model_input * math.hypot(1, sigma) - source.tensor(X0, step)) / sigma
    return ResumePoint(latents=model_input, direction=direction, sigma=sigma)


def _resume_notes(job: Job, earlier_job: Job, source: LatentsSource, step: int) -> tuple[str, ...]:
    """Return the events for the record of the image, whose own settings don't show them."""
    changes = [
        f"{name} {job_value(earlier_job, name)!r}"
        for name in _FIELDS_OF_NOTES
        if getattr(earlier_job, name) != getattr(job, name)
    ]
    if earlier_job.scheduler != job.scheduler:
        changes.append(f"scheduler {earlier_job.scheduler_label!r}")
    # The earlier run may have been resumed itself.
    events = source.record.get("events", ())
    inherited = tuple(event for event in events if str(event).startswith(RESUMED_PREFIX))
    if not changes:
        return inherited
    note = f"{RESUMED_PREFIX} {step} are those of {source.path.name}, with {', '.join(changes)}"
    return (*inherited, note)


def _nearest_step_note(loaded: LoadedPipeline, job: Job, point: ResumePoint) -> str:
    scheduler = build_for_jobs(loaded, [job])
    sigmas = timestep_sigmas(scheduler)[skipped_calls(scheduler, job) :]
    step = nearest_step(sigmas, point.sigma, pairs=steps_in_pairs(scheduler))
    return (
        f"{job.scheduler_label} resumes at its step {step + 1} of {len(sigmas)}, noise level "
        f"{sigmas[step]:.4g}; the latents had {point.sigma:.4g}"
    )
