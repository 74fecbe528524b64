"""From what was asked to what will be done: every open choice is made here, and nowhere later."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from sdcli.catalog.schedulers.resolve import ResolvedScheduler, model_scheduler, resolve_scheduler
from sdcli.catalog.schedulers.resolve import SchedulerConfig as SchedulerConfig
from sdcli.checkpoints.model_defaults import ModelDefaults
from sdcli.errors import UsageError
from sdcli.job import JOB_SETTINGS, Job
from sdcli.request import REQUEST_FIELDS, GenerationRequest, describe_field


def random_seed(job: Job) -> int:
    """A seed of the system's randomness, 32 bits."""
    del job  # others draw by it
    return int.from_bytes(os.urandom(4), "big")


def resolve_jobs(
    request: GenerationRequest,
    defaults: ModelDefaults,
    first_index: int,
    *,
    fingerprint: str = "",
    draw: Callable[[Job], int] = random_seed,
) -> Iterator[Job]:
    """The jobs of one request on a model with these defaults; image *i* gets seed + *i*.

    `draw` gives the seed where none was asked for, and sees the job with seed 0. Raises UsageError
    for what the model or its scheduler could only ignore.
    """
    selection = _resolve_scheduler(request, defaults)
    job = _first_job(request, selection, defaults, first_index, fingerprint)
    for error in _find_faults(job, selection, defaults):
        raise error
    if request.seed is None:
        job = replace(job, seed=draw(job))
    for i in range(request.count):
        yield replace(job, index=first_index + i, seed=job.seed + i)


def find_faults(request: GenerationRequest, defaults: ModelDefaults) -> list[UsageError]:
    """All that `plan` would raise, one after the other."""
    unknown = []
    try:
        selection = _resolve_scheduler(request, defaults)
    except UsageError as error:
        unknown = [error]
        request = replace(request, scheduler=None, eta=None, num_inference_steps=None)
        selection = _resolve_scheduler(request, defaults)
    job = _first_job(request, selection, defaults, 0, "")
    return [*unknown, *_find_faults(job, selection, defaults)]


def _first_job(
    request: GenerationRequest,
    selection: ResolvedScheduler,
    defaults: ModelDefaults,
    index: int,
    fingerprint: str,
) -> Job:
    """The first job of a request, with seed 0 where none was asked for."""
    values = {name: _resolve(request, name, defaults) for name in JOB_SETTINGS}
    return Job(
        index=index,
        prompt=request.prompt,
        spec=request.spec,
        scheduler=selection.choice,
        scheduler_label=selection.label,
        fingerprint=fingerprint,
        **values,
    )


def _resolve(request: GenerationRequest, name: str, defaults: ModelDefaults) -> Any:
    """The value of a field: as requested, or the model's, or the same for every model."""
    value, info = getattr(request, name), REQUEST_FIELDS[name]
    if value is not None:
        return value
    return getattr(defaults, info.from_model) if info.from_model else info.resolved


def _resolve_scheduler(request: GenerationRequest, defaults: ModelDefaults) -> ResolvedScheduler:
    name = request.scheduler or defaults.scheduler
    return resolve_scheduler(name) if name else model_scheduler(defaults.scheduler_class)


def _find_faults(
    job: Job, selection: ResolvedScheduler, defaults: ModelDefaults
) -> Iterator[UsageError]:
    yield from _size_faults(job, defaults)
    yield from _scheduler_faults(job, selection)
    yield from _zero_snr_faults(job, defaults)
    if job.eta and not (selection.sampler and selection.sampler.takes_eta):
        yield UsageError(
            f"eta: {job.scheduler_label} has no eta, it would be ignored",
            code="usage.eta",
            hint="use -s DDIM, or leave --eta out",
        )
    yield from _prompt_faults(job, defaults)


def _size_faults(job: Job, defaults: ModelDefaults) -> Iterator[UsageError]:
    grid = defaults.vae_scale_factor
    for name, size in (("width", job.width), ("height", job.height)):
        if size % grid:
            near = max(grid, round(size / grid) * grid)
            yield UsageError(
                f"{describe_field(name)}: {size} is not a multiple of {grid}, as this model needs",
                code=f"usage.{name}",
                hint=f"the nearest is {near}",
            )


def _scheduler_faults(job: Job, selection: ResolvedScheduler) -> Iterator[UsageError]:
    sampler = selection.sampler
    if job.num_inference_steps > selection.max_steps:
        yield UsageError(
            f"{describe_field('num_inference_steps')}: {job.num_inference_steps} is more than the "
            f"{selection.max_steps} that {job.scheduler_label} takes",
            code="usage.num_inference_steps",
        )
    if sampler and job.num_inference_steps < sampler.min_steps:
        yield UsageError(
            f"{describe_field('num_inference_steps')}: {job.scheduler_label} breaks below "
            f"{sampler.min_steps} steps",
            code="usage.num_inference_steps",
            hint=f"--steps {sampler.min_steps}, or another --scheduler",
        )


def _zero_snr_faults(job: Job, defaults: ModelDefaults) -> Iterator[UsageError]:
    config = dict(job.scheduler.config)
    prediction_type = config.get("prediction_type", defaults.prediction_type)
    if config.get("rescale_betas_zero_snr") and prediction_type == "epsilon":
        yield UsageError(
            "rescale_betas_zero_snr: this model predicts noise, which tells nothing in pure noise",
            code="scheduler.options",
            hint="leave it out, or give a model trained for it, with prediction_type=v_prediction",
        )


def _prompt_faults(job: Job, defaults: ModelDefaults) -> Iterator[UsageError]:
    if job.guidance_scale <= 1 and (job.negative_prompt or job.guidance_rescale):
        ignored = "a negative prompt" if job.negative_prompt else "guidance_rescale"
        yield UsageError(
            f"{ignored} does nothing at guidance {job.guidance_scale:g}",
            code="usage.guidance_scale",
            hint="use a --guidance above 1, or leave it out",
        )
    layers = defaults.text_encoder_layers
    if job.clip_skip is not None and layers is not None and job.clip_skip >= layers:
        yield UsageError(
            f"clip_skip: {job.clip_skip} skips all {layers} layers of the text encoder",
            code="usage.clip_skip",
            hint=f"at most {layers - 1}",
        )
