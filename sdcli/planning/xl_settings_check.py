"""Resolve and check the settings of Stable Diffusion XL against a model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sdcli.catalog.schedulers.resolve import ResolvedScheduler
from sdcli.checkpoints.model_defaults import ModelDefaults
from sdcli.errors import UsageError
from sdcli.fields.xl import AESTHETIC_SCORE, REFINER_AT, SIZE_FIELDS
from sdcli.job import Job
from sdcli.request import GenerationRequest, describe_field

_PROMPTS: Final = ("prompt_2", "negative_prompt_2")
_NEEDS_HISTORY: Final = "LMSDiscreteScheduler"


def resolve_xl_settings(request: GenerationRequest, defaults: ModelDefaults) -> dict[str, Any]:
    """Return the values of the job's fields that depend on the model's inputs and its refiner."""
    values: dict[str, Any] = {
        "empty_negative": request.negative_prompt == ""
        and any(traits and traits.zeroes_negative for traits in (defaults.xl, defaults.refiner))
    }
    if defaults.refiner and request.refiner_at is None:
        values["refiner_at"] = REFINER_AT
    if _takes_score(defaults) and request.aesthetic_score is None:
        values["aesthetic_score"] = AESTHETIC_SCORE
    return values


def _zeroes_negative(defaults: ModelDefaults) -> bool:
    return defaults.xl is not None and defaults.xl.zeroes_negative


def _takes_score(defaults: ModelDefaults) -> bool:
    return defaults.refiner is not None and defaults.refiner.takes_aesthetic_score


def xl_faults(
    job: Job, scheduler: ResolvedScheduler, defaults: ModelDefaults
) -> Iterator[UsageError]:
    """All errors of settings that the model would ignore or cannot run with."""
    for name in (*_PROMPTS, *SIZE_FIELDS):
        if getattr(job, name) is not None and defaults.xl is None:
            yield _no_effect(name, "on this model", "only Stable Diffusion XL models take it")
    is_zeroed = _zeroes_negative(defaults) and not (job.negative_prompt or job.empty_negative)
    if job.negative_prompt_2 is not None and is_zeroed:
        yield _no_effect(
            "negative_prompt_2", "without a negative prompt", 'add --negative, also an empty ""'
        )
    if defaults.refiner:
        yield from _refiner_faults(job, scheduler)
    elif job.refiner_at is not None:
        yield _no_effect("refiner_at", "without a refiner", "add --refiner MODEL")
    if job.aesthetic_score is not None and not _takes_score(defaults):
        reason = "on this refiner" if defaults.refiner else "without a refiner"
        yield _no_effect(
            "aesthetic_score", reason, "it works with stabilityai/stable-diffusion-xl-refiner-1.0"
        )


def _refiner_faults(job: Job, scheduler: ResolvedScheduler) -> Iterator[UsageError]:
    if job.refiner_at in (0, 1):
        idle = "base model" if job.refiner_at == 0 else "refiner"
        yield UsageError(
            f"refiner_at: {job.refiner_at:g} leaves the {idle} nothing to do",
            code="usage.refiner_at",
            hint="use a number between 0 and 1, such as 0.8",
        )
    if job.image is not None:
        yield UsageError(
            "refiner: not supported together with --image: the refiner takes over at a fraction of "
            "the whole run, of which --strength skips the first part",
            code="usage.refiner",
            hint="leave --refiner out, or refine an image while it is made from text",
        )
    sampler, steps = scheduler.sampler, job.num_inference_steps
    if sampler and sampler.unet_calls(steps) != steps:
        reason = "it calls the UNet more often than once a step, and a run is cut between calls"
    elif sampler and sampler.class_name == _NEEDS_HISTORY:
        reason = "it needs the results of earlier steps, which the refiner has not made"
    else:
        return
    yield UsageError(
        f"refiner: {job.scheduler_label} cannot hand a run over: {reason}",
        code="usage.refiner",
        hint="use another --scheduler, such as Euler or DPM++ 2M",
    )


def _no_effect(name: str, reason: str, hint: str) -> UsageError:
    return UsageError(
        f"{describe_field(name)} has no effect {reason}", code=f"usage.{name}", hint=hint
    )
