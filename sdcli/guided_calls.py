"""Decide which UNet calls of a job are guided, and which of them keep an earlier difference."""

from __future__ import annotations

from sdcli.fields.guidance import parse_schedule, scale_at
from sdcli.full_calls import is_full_call
from sdcli.job import Job


def is_guided_call(job: Job, call: int, calls: int) -> bool:
    """Whether a UNet call, of so many in the whole run, is guided; it counts from 0."""
    if not job.guidance_from * calls <= call < job.guidance_to * calls:
        return False
    return scale_at(parse_schedule(job.guidance_schedule), job.guidance_scale, call, calls) > 1


def keeps_difference(job: Job, call: int, calls: int) -> bool:
    """Whether a UNet call computes its conditional half only, and keeps the last difference."""
    every = job.guidance_every
    # Where guidance begins, there is no difference to keep.
    return (
        every > 1
        and not is_full_call(call, calls, every)
        and is_guided_call(job, call, calls)
        and is_guided_call(job, call - 1, calls)
    )
