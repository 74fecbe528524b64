"""Resolve requests to jobs: every choice that a request leaves open is made here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

from sdcli.catalog.schedulers.first_step import SCHEDULE_HINT, repeated_first_timestep
from sdcli.catalog.schedulers.resolve import ResolvedScheduler
from sdcli.checkpoints.model_defaults import ModelDefaults
from sdcli.errors import SdcliError, UsageError
from sdcli.fields.freeu import name_freeu
from sdcli.fields.guidance import largest_scale, name_schedule
from sdcli.input_images import InputReader
from sdcli.job import JOB_SETTINGS, Job
from sdcli.planning.backend_check import backend_faults
from sdcli.planning.draft import with_draft
from sdcli.planning.feature_cache_check import feature_cache_faults
from sdcli.planning.guidance_check import guidance_faults
from sdcli.planning.hires_check import hires_faults
from sdcli.planning.job_templates import JobTemplates
from sdcli.planning.prompt_syntax import check_compel, reads_syntax, syntax_faults
from sdcli.planning.request_controls import control_size_faults
from sdcli.planning.request_embeddings import NO_EMBEDDINGS, RequestEmbeddings
from sdcli.planning.request_files import job_fields, read_files
from sdcli.planning.request_images import image_faults
from sdcli.planning.request_loras import RequestLoras, take_loras
from sdcli.planning.request_scheduler import find_scheduler
from sdcli.planning.weights_dtype_check import weights_dtype_faults
from sdcli.planning.xl_settings_check import resolve_xl_settings, xl_faults
from sdcli.prompts.lora_tags import drop_open_tags
from sdcli.request import REQUEST_FIELDS, GenerationRequest, describe_field

_TEMPLATES: Final = JobTemplates()

SeedDrawer = Callable[[Job], int]
"""Gives a seed to a job, which still has the seed 0."""


def random_seed() -> int:
    """A seed of 32 bits from the system's random source."""
    return int.from_bytes(os.urandom(4), "big")


def resolve_jobs(
    request: GenerationRequest,
    defaults: ModelDefaults,
    first_index: int,
    *,
    fingerprint: str = "",
    draw_seed: SeedDrawer | None = None,
    read_image: InputReader | None = None,
    loras: RequestLoras | None = None,
    embeddings: RequestEmbeddings | None = None,
    is_local: bool = False,
) -> Iterator[Job]:
    """The jobs of one request on a model with these defaults; image *i* gets seed + *i*.

    `draw_seed` gives the seed where the request has none, by default a random one. `read_image`
    describes the files of a request that has any. `loras` are those of the request, if they were
    taken out of its prompt before, and `embeddings` those of its prompts. With `is_local`, no
    ControlNet or IP-Adapter is downloaded. Raises UsageError for options that the model or its
    scheduler would ignore or cannot run with, and CorruptError for an unreadable image.
    """
    if loras is None:
        request, loras = take_loras(request)
    check_compel(request)
    defaults = loras.change(defaults)
    key = read_files(request, defaults, read_image, loras, embeddings, is_local=is_local)
    template = _TEMPLATES.find(request, defaults, key)
    if template is None:
        scheduler = find_scheduler(request, defaults)
        files = job_fields(request, defaults, key)
        template = _first_job(request, scheduler, defaults, files, fingerprint)
        template = with_draft(request, template, scheduler, defaults)
        for error in _find_faults(request, template, scheduler, defaults):
            raise error
        _TEMPLATES.add(request, defaults, key, template)
    elif template.fingerprint != fingerprint:
        template = replace(template, fingerprint=fingerprint)
        _TEMPLATES.add(request, defaults, key, template)
    copy = partial(
        template.for_image,
        request,
        reads_syntax=reads_syntax(request, defaults, key[-1] if key else NO_EMBEDDINGS),
    )
    seed = request.seed
    if seed is None:
        seed = draw_seed(copy(index=first_index, seed=0)) if draw_seed else random_seed()
    for i in range(request.count):
        yield copy(index=first_index + i, seed=seed + i)


def find_faults(
    request: GenerationRequest, defaults: ModelDefaults, read_image: InputReader | None = None
) -> list[SdcliError]:
    """All errors of the request, of which `resolve_jobs` would raise the first."""
    try:
        request, loras = take_loras(drop_open_tags(request))
        check_compel(request)
        defaults = loras.change(defaults)
        key = read_files(request, defaults, read_image, loras, None, is_local=True)
    except SdcliError as error:
        return [error]
    if _TEMPLATES.find(request, defaults, key):
        return []
    faults: list[SdcliError] = []
    whole = request
    try:
        scheduler = find_scheduler(request, defaults)
    except UsageError as error:
        faults.append(error)
        if request.scheduler is None:  # the model's defaults name one that its own file rules out
            return faults
        # Steps and eta are judged by the scheduler, which is unknown: check the rest without them.
        request = replace(request, scheduler=None, eta=None, num_inference_steps=None)
        scheduler = find_scheduler(request, defaults)
    job = _first_job(request, scheduler, defaults, job_fields(request, defaults, key), "")
    job = with_draft(request, job, scheduler, defaults)
    faults += _find_faults(request, job, scheduler, defaults)
    if not faults:
        _TEMPLATES.add(whole, defaults, key, job)
    return faults


def _first_job(
    request: GenerationRequest,
    scheduler: ResolvedScheduler,
    defaults: ModelDefaults,
    files: Mapping[str, object],
    fingerprint: str,
) -> Job:
    """The first job of a request, with seed 0 where the request has none."""
    values = {name: _resolve(request, name, defaults) for name in JOB_SETTINGS}
    values.update(files, freeu=name_freeu(request.freeu), **resolve_xl_settings(request, defaults))
    if (largest := largest_scale(request.guidance_schedule)) is not None:
        values["guidance_scale"] = largest
    values["guidance_schedule"] = name_schedule(request.guidance_schedule)
    values["seed"] = request.seed or 0
    return Job(
        index=0,
        prompt=request.prompt,
        spec=request.spec,
        scheduler=scheduler.choice,
        scheduler_label=scheduler.label,
        fingerprint=fingerprint,
        **values,
    )


def _resolve(request: GenerationRequest, name: str, defaults: ModelDefaults) -> Any:
    """The value of a field: as requested, or the model's, or the same for every model."""
    value, info = getattr(request, name), REQUEST_FIELDS[name]
    if value is not None:
        return value
    return getattr(defaults, info.from_model) if info.from_model else info.resolved


def _find_faults(
    request: GenerationRequest, job: Job, scheduler: ResolvedScheduler, defaults: ModelDefaults
) -> Iterator[UsageError]:
    yield from image_faults(request, job, defaults)
    yield from _size_faults(job, defaults)
    yield from control_size_faults(job)
    yield from _step_faults(job, scheduler, "num_inference_steps")
    yield from _schedule_faults(job, scheduler)
    yield from _zero_snr_faults(job, scheduler)
    if job.eta and not (scheduler.sampler and scheduler.sampler.takes_eta):
        yield UsageError(
            f"eta: {job.scheduler_label} has no eta and would ignore it",
            code="usage.eta",
            hint="use -s DDIM, or leave --eta out",
        )
    yield from guidance_faults(request, job, scheduler, defaults)
    yield from _clip_skip_faults(job, defaults)
    yield from syntax_faults(request, job, defaults)
    yield from xl_faults(job, scheduler, defaults)
    yield from hires_faults(job, defaults)
    yield from feature_cache_faults(job, scheduler, defaults)
    yield from backend_faults(job)
    yield from weights_dtype_faults(job)
    second = job.second_pass()
    # Without steps of its own, the second pass has those of the first.
    if second and job.hires_steps is not None:
        yield from _step_faults(second, scheduler, "hires_steps")
        yield from _schedule_faults(second, scheduler)


def _size_faults(job: Job, defaults: ModelDefaults) -> Iterator[UsageError]:
    grid = defaults.vae_scale_factor
    for name, size in (("width", job.width), ("height", job.height)):
        if size % grid:
            nearest = max(grid, round(size / grid) * grid)
            yield UsageError(
                f"{describe_field(name)}: {size} is not a multiple of {grid}, as this model needs",
                code=f"usage.{name}",
                hint=f"the nearest is {nearest}",
            )


def _step_faults(job: Job, scheduler: ResolvedScheduler, field: str) -> Iterator[UsageError]:
    sampler = scheduler.sampler
    option = describe_field(field)
    if job.num_inference_steps > scheduler.max_steps:
        yield UsageError(
            f"{option}: {job.num_inference_steps} is more than the {scheduler.max_steps} that "
            f"{job.scheduler_label} supports",
            code=f"usage.{field}",
        )
    if sampler and job.num_inference_steps < sampler.min_steps:
        yield UsageError(
            f"{option}: {job.scheduler_label} needs at least {sampler.min_steps} steps",
            code=f"usage.{field}",
            hint=f"{REQUEST_FIELDS[field].flag} {sampler.min_steps}, or another --scheduler",
        )


def _schedule_faults(job: Job, scheduler: ResolvedScheduler) -> Iterator[UsageError]:
    # Diffusers' class finds it only when it runs.
    class_name, steps = scheduler.class_name, job.num_inference_steps
    repeated = repeated_first_timestep(class_name, scheduler.config, steps)
    if repeated is not None:
        yield UsageError(
            f"{class_name} does not work with {steps} steps of this configuration: its first "
            f"timestep, {repeated}, comes twice",
            code="usage.scheduler",
            hint=SCHEDULE_HINT,
        )


def _zero_snr_faults(job: Job, scheduler: ResolvedScheduler) -> Iterator[UsageError]:
    config, typed = scheduler.config, dict(job.scheduler.config)
    # A model's own file is not judged: with leading timesteps, such a model never meets pure noise.
    if not typed.keys() & {"rescale_betas_zero_snr", "prediction_type"}:
        return
    # At zero signal-to-noise the input is pure noise, and predicting that says nothing of an image.
    if config.get("rescale_betas_zero_snr") and config.get("prediction_type") == "epsilon":
        yield UsageError(
            "rescale_betas_zero_snr: this model predicts noise, which does not work from pure "
            "noise",
            code="scheduler.options",
            hint="leave it out, or use a model trained for it, with prediction_type=v_prediction",
        )


def _clip_skip_faults(job: Job, defaults: ModelDefaults) -> Iterator[UsageError]:
    layers = defaults.text_encoder_layers
    if job.clip_skip is not None and layers is not None and job.clip_skip >= layers:
        yield UsageError(
            f"clip_skip: {job.clip_skip} skips all {layers} layers of the text encoder",
            code="usage.clip_skip",
            hint=f"at most {layers - 1}",
        )
