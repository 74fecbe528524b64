"""Choose the options of a draft: those that save much time and change little."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from sdcli.catalog.schedulers.resolve import ResolvedScheduler
from sdcli.checkpoints.model_defaults import ModelDefaults
from sdcli.errors import UsageError
from sdcli.job import Job
from sdcli.planning.backend_check import backend_faults
from sdcli.planning.feature_cache_check import feature_cache_faults
from sdcli.planning.guidance_check import guidance_faults
from sdcli.request import REQUEST_FIELDS, GenerationRequest

# Equal numbers: the steps that compute guidance are those that compute deep features for it.
_BARGAIN: Final[Mapping[str, Any]] = {"feature_cache": 3, "guidance_every": 3}
"""The options of a draft, each left out where it cannot be used or saves nothing."""


def with_draft(
    request: GenerationRequest, job: Job, scheduler: ResolvedScheduler, defaults: ModelDefaults
) -> Job:
    """Return the job with the options of a draft, if its request asks for one.

    What the request names itself stays as it is.
    """
    if not request.draft:
        return job
    for name, value in _BARGAIN.items():
        changed: Job = replace(job, **{name: value})
        is_open = getattr(request, name) is None
        if is_open and not any(_faults(request, changed, scheduler, defaults)):
            job = changed
    return job


def describe_draft(request: GenerationRequest, job: Job) -> str:
    """Return a sentence about the options that were chosen for the draft of a job."""
    chosen = [
        f"{REQUEST_FIELDS[name].flag} {getattr(job, name)}"
        for name in _BARGAIN
        if getattr(request, name) is None and getattr(job, name) != 1
    ]
    if chosen:
        return f"--draft uses {' '.join(chosen)}"
    if any(getattr(request, name) is not None for name in _BARGAIN):
        return "--draft changes nothing beyond the options that are given"
    flags = " nor ".join(str(REQUEST_FIELDS[name].flag) for name in _BARGAIN)
    steps = f"{job.denoising_steps} steps"
    return f"--draft changes nothing: neither {flags} saves time with {steps} and these options"


def _faults(
    request: GenerationRequest, job: Job, scheduler: ResolvedScheduler, defaults: ModelDefaults
) -> Iterator[UsageError]:
    yield from feature_cache_faults(job, scheduler, defaults)
    yield from guidance_faults(request, job, scheduler, defaults)
    yield from backend_faults(job)
