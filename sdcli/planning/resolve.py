"""From what was asked to what will be done: every open choice is made here, and nowhere later."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Final, TypeVar

from sdcli.catalog.schedulers.resolve import ResolvedScheduler, model_scheduler, resolve_scheduler
from sdcli.catalog.schedulers.resolve import SchedulerConfig as SchedulerConfig
from sdcli.checkpoints.model_defaults import ModelDefaults
from sdcli.errors import UsageError
from sdcli.request import GenerationRequest, PipelineSpec, describe_field

T = TypeVar("T")
TimingKey = tuple[object, ...]
"""What decides how long an image takes, on one machine."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One image to be made, with nothing left to choose. `index` counts from 0 over the run.

    `scheduler_label` names the scheduler for people and resolves to it again. `fingerprint` tells
    the model's and VAE's files apart, "" when nobody asked. `occurrence` counts equal jobs of one
    run from 0.
    """

    index: int
    prompt: str
    negative_prompt: str
    spec: PipelineSpec
    scheduler: SchedulerConfig
    scheduler_label: str
    num_inference_steps: int
    guidance_scale: float
    guidance_rescale: float
    eta: float
    clip_skip: int | None
    width: int
    height: int
    seed: int
    vae_tiling: str = "auto"
    fingerprint: str = ""
    occurrence: int = 0


_IRRELEVANT_TO_PIXELS: Final = frozenset({"index", "occurrence", "scheduler_label", "spec"})
"""Fields of a job that do not decide its pixels, or (the spec) not as they are written."""


def job_id(job: Job) -> str:
    """32 hex digits of all that decides the pixels: an edited job is another, a moved one is not.

    Models count by their files where `fingerprint` is known, never by path; `dtype` counts as asked
    for, and the device not at all, so that a run may go on elsewhere.
    """
    facts = {
        f.name: getattr(job, f.name) for f in fields(job) if f.name not in _IRRELEVANT_TO_PIXELS
    }
    choice = job.scheduler
    facts["scheduler"] = [choice.class_name, choice.config]
    facts["dtype"] = job.spec.dtype
    if not job.fingerprint:
        facts["files"] = [job.spec.model, job.spec.vae, job.spec.variant]
    text = json.dumps(facts, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


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
    return Job(
        index=index,
        prompt=request.prompt,
        negative_prompt=request.negative_prompt or "",
        spec=request.spec,
        scheduler=selection.choice,
        scheduler_label=selection.label,
        num_inference_steps=_value_or(request.num_inference_steps, defaults.num_inference_steps),
        guidance_scale=_value_or(request.guidance_scale, defaults.guidance_scale),
        guidance_rescale=_value_or(request.guidance_rescale, 0.0),
        eta=_value_or(request.eta, 0.0),
        clip_skip=request.clip_skip,
        width=_value_or(request.width, defaults.width),
        height=_value_or(request.height, defaults.height),
        vae_tiling=_value_or(request.vae_tiling, "auto"),
        seed=_value_or(request.seed, 0),
        fingerprint=fingerprint,
    )


def timing_key(job: Job) -> TimingKey:
    """Model, size, scheduler, steps, and whether the UNet sees each step twice."""
    guided = job.guidance_scale > 1
    size = (job.width, job.height)
    return (job.spec.model, *size, job.scheduler_label, job.num_inference_steps, guided)


def batch_key(job: Job) -> Hashable:
    """Jobs with equal keys may be denoised in one batch."""
    return replace(job, index=0, prompt="", negative_prompt="", seed=0, occurrence=0)


def _value_or(asked: T | None, default: T) -> T:
    return default if asked is None else asked


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
