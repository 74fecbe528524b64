"""Find guidance settings that would have no effect."""

from __future__ import annotations

from collections.abc import Iterator

from sdcli.catalog.schedulers.resolve import ResolvedScheduler
from sdcli.checkpoints.model_defaults import ModelDefaults
from sdcli.errors import UsageError
from sdcli.fields.guidance import parse_schedule, scale_at
from sdcli.full_calls import FULL_AT_END, FULL_AT_START
from sdcli.guided_calls import keeps_difference
from sdcli.job import JOB_SETTINGS, Job
from sdcli.planning.prompt_syntax import combines_prompts
from sdcli.request import REQUEST_FIELDS, GenerationRequest


def guidance_faults(
    request: GenerationRequest, job: Job, scheduler: ResolvedScheduler, defaults: ModelDefaults
) -> Iterator[UsageError]:
    """All errors of guidance settings that the run would not use."""
    yield from _unused_faults(request, job, defaults)
    yield from _replaced_faults(request, job)
    if job.pag_scale:
        yield from _pag_faults(request, job, defaults)
    runs = (job, second) if (second := job.second_pass()) else (job,)
    if not all(_has_guided_step(run, scheduler) for run in runs):
        yield _no_step_error(job)
    elif job.guidance_scale > 1 and all(_keeps_no_difference(run, scheduler) for run in runs):
        yield _no_difference_error(job)


def _unused_faults(
    request: GenerationRequest, job: Job, defaults: ModelDefaults
) -> Iterator[UsageError]:
    if job.guidance_scale > 1 and not defaults.embeds_guidance:
        return
    reason = f"at guidance {job.guidance_scale:g}"
    if request.guidance_scale is None and request.guidance_schedule is None:
        reason += f", the default {'with this LoRA' if job.lora else 'of this model'}"
    hint = "use a --guidance above 1, or leave it out"
    if defaults.embeds_guidance:
        reason = "on this model: its UNet takes the guidance as an input (time_cond_proj_dim)"
        hint = "leave it out"
    for name in JOB_SETTINGS:
        info = REQUEST_FIELDS[name]
        if info.needs_guidance and getattr(job, name) != info.resolved:
            yield UsageError(
                f"{name} has no effect {reason}", code="usage.guidance_scale", hint=hint
            )


def _replaced_faults(request: GenerationRequest, job: Job) -> Iterator[UsageError]:
    scale = request.guidance_scale
    # A record has the largest scale of its schedule.
    if job.guidance_schedule and scale is not None and scale != job.guidance_scale:
        yield UsageError(
            f"guidance_scale (--guidance): {scale:g} has no effect with the guidance_schedule "
            f"{job.guidance_schedule}",
            code="usage.guidance_scale",
            hint="leave one of the two out; --guidance-schedule none turns a schedule off",
        )


def _pag_faults(
    request: GenerationRequest, job: Job, defaults: ModelDefaults
) -> Iterator[UsageError]:
    # Diffusers has no pipeline for any of them.
    reasons = (
        (not defaults.has_middle_attention, "this model, whose middle block has no attention"),
        (defaults.embeds_guidance, "this model, whose guidance is an input of the UNet"),
        (job.refiner_at is not None, "a refiner"),
        (job.feature_cache != 1, "--feature-cache: it needs the middle block at every step"),
        (combines_prompts(request), "AND in the prompt"),
    )
    for applies, reason in reasons:
        if applies:
            yield UsageError(
                f"pag_scale (--pag): not supported with {reason}",
                code="usage.pag_scale",
                hint="leave one of them out" if "this model" not in reason else "leave it out",
            )


def check_attention_is_whole(request: GenerationRequest, option: str) -> None:
    """Raise UsageError for PAG, with which `option` would see perturbed attention."""
    if request.pag_scale:
        raise UsageError(
            f"{option}: with --pag, a part of the attention is perturbed",
            code="usage.pag_scale",
            hint="leave --pag out",
        )


def _has_guided_step(job: Job, scheduler: ResolvedScheduler) -> bool:
    calls = _count_calls(job, scheduler)
    first, end = job.guidance_from * calls, job.guidance_to * calls
    schedule = parse_schedule(job.guidance_schedule) if job.guidance_scale > 1 else ()
    # Without a step at all, the strength of the input image is at fault.
    return not calls or any(
        first <= call < end and (not schedule or scale_at(schedule, 0, call, calls) > 1)
        for call in range(calls)
    )


def _keeps_no_difference(job: Job, scheduler: ResolvedScheduler) -> bool:
    calls = _count_calls(job, scheduler) if job.guidance_every > 1 else 0
    return bool(calls) and not any(keeps_difference(job, call, calls) for call in range(calls))


def _count_calls(job: Job, scheduler: ResolvedScheduler) -> int:
    steps = job.denoising_steps
    return scheduler.sampler.unet_calls(steps) if scheduler.sampler else steps


def _no_step_error(job: Job) -> UsageError:
    if job.guidance_schedule:
        return UsageError(
            f"guidance_schedule: no step has a guidance above 1 in {job.guidance_schedule}",
            code="usage.guidance_schedule",
            hint="use more steps, or --guidance 1 for no guidance",
        )
    return UsageError(
        f"guidance_from: no step lies between {job.guidance_from:g} and {job.guidance_to:g} "
        "of the run",
        code="usage.guidance_from",
        hint="use a wider interval, or --guidance 1 for no guidance",
    )


def _no_difference_error(job: Job) -> UsageError:
    steps = f"{job.denoising_steps} step{'' if job.denoising_steps == 1 else 's'}"
    return UsageError(
        f"guidance_every: no effect with {steps}: the first {FULL_AT_START} "
        f"and the last {FULL_AT_END} that are guided compute everything",
        code="usage.guidance_every",
        hint=f"use more than {FULL_AT_START + FULL_AT_END} steps, or leave it out",
    )
