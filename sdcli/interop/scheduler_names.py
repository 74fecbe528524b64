"""Find the scheduler nearest to another program's sampler and schedule."""

from __future__ import annotations

from sdcli.catalog.schedulers.lookup import find_sampler
from sdcli.catalog.schedulers.resolve import resolve_scheduler
from sdcli.errors import UsageError

_FUNCTION_PREFIX = "sample_"
"""The start of k-diffusion's function names, which old versions of ComfyUI wrote."""


def nearest_scheduler(sampler: str, schedule: str) -> tuple[str | None, str | None]:
    """Return a valid scheduler name, and the schedule that had to be dropped for it.

    The name is None if the sampler itself is unknown. `sampler` may include a schedule.
    """
    sampler = sampler.strip()
    plain = sampler.removeprefix(_FUNCTION_PREFIX)
    for name in dict.fromkeys((sampler, plain)):
        full = f"{name} {schedule}" if schedule else name
        if _is_valid(full):
            return full, None
        if schedule and _is_valid(name):
            return name, schedule
        # A schedule within the name, which fits another sampler only.
        match = find_sampler(name)
        if match and match[1] and _is_valid(match[0].sampler.name):
            dropped = f"{match[1]} {schedule}" if schedule else match[1]
            return match[0].sampler.name, dropped
    return None, None


def _is_valid(name: str) -> bool:
    try:
        resolve_scheduler(name)
    except UsageError:
        return False
    return True
