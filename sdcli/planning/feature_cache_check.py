"""Check whether deep features of a job's UNet can be kept, and whether that saves anything."""

from __future__ import annotations

from collections.abc import Iterator

from sdcli.catalog.schedulers.resolve import ResolvedScheduler
from sdcli.checkpoints.model_defaults import ModelDefaults
from sdcli.errors import UsageError
from sdcli.full_calls import FULL_AT_END, FULL_AT_START, is_full_call
from sdcli.job import Job
from sdcli.request import GenerationRequest

_CODE = "usage.feature_cache"


def feature_cache_faults(
    job: Job, scheduler: ResolvedScheduler, defaults: ModelDefaults
) -> Iterator[UsageError]:
    """Yield the errors of a feature cache, none for a job without one."""
    if job.feature_cache == 1:
        return
    if not defaults.keeps_features:
        yield UsageError(
            "feature_cache: not supported by this model: its UNet does not begin and end with the "
            "blocks of Stable Diffusion",
            code=_CODE,
            hint="leave it out",
        )
    if job.controlnet is not None:
        yield UsageError(
            "feature_cache: not supported together with a ControlNet, which guides the deep "
            "features at every step",
            code=_CODE,
            hint="leave one of them out",
        )
    passes = (job, second) if (second := job.second_pass()) else (job,)
    # Without a step at all, the strength of the input image is at fault.
    if job.denoising_steps and not any(_saves_calls(one, scheduler) for one in passes):
        full = FULL_AT_START + FULL_AT_END
        steps = f"{job.denoising_steps} step{'' if job.denoising_steps == 1 else 's'}"
        yield UsageError(
            f"feature_cache: no effect with {steps}: the first {FULL_AT_START} "
            f"and the last {FULL_AT_END} compute everything",
            code=_CODE,
            hint=f"use more than {full} steps, or leave it out",
        )


def check_features_are_computed(request: GenerationRequest, option: str) -> None:
    """Raise UsageError for a feature cache, without which `option` cannot see all layers."""
    if request.draft or request.feature_cache not in (None, 1):
        saver = "--draft" if request.draft else "--feature-cache"
        raise UsageError(
            f"{option}: with {saver}, most layers of the UNet do not run at every step",
            code=_CODE,
            hint=f"leave {saver} out{', or use --guidance-every 3' if request.draft else ''}",
        )


def _saves_calls(job: Job, scheduler: ResolvedScheduler) -> bool:
    steps = job.denoising_steps
    calls = scheduler.sampler.unet_calls(steps) if scheduler.sampler else steps
    return not all(is_full_call(call, calls, job.feature_cache) for call in range(calls))
