"""List the schedulers: `sdcli.schedulers`."""

from __future__ import annotations

from dataclasses import dataclass

from sdcli.catalog.schedulers.sampler_search import find_samplers, sampler_notes
from sdcli.catalog.schedulers.sampler_types import Sampler
from sdcli.library.error_messages import python_errors


@dataclass(frozen=True, kw_only=True, repr=False)
class SchedulerInfo:
    """A scheduler, which `generate(..., scheduler=...)` takes as it does its `name`.

    `schedules` may follow the name: "DPM++ 2M Karras". `unet_calls` is their number for N steps.
    A `stochastic` scheduler adds noise at every step, one with `takes_eta` if eta is above 0.
    """

    name: str
    aliases: tuple[str, ...]
    class_name: str
    order: int
    schedules: tuple[str, ...]
    unet_calls: str
    stochastic: bool
    takes_eta: bool
    min_steps: int
    max_steps: int
    notes: str

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"SchedulerInfo({self.name!r}, class_name={self.class_name!r})"


@python_errors
def schedulers(words: str = "") -> list[SchedulerInfo]:
    """Return the schedulers that match all of the words, as in `schedulers("karras sde")`.

    Raises UsageError if there are none.
    """
    return [_describe(row) for row in find_samplers(words.split())]


def _describe(row: Sampler) -> SchedulerInfo:
    return SchedulerInfo(
        name=row.name,
        aliases=row.aliases,
        class_name=row.class_name,
        order=row.order,
        schedules=row.schedules,
        unet_calls=row.unet_call_formula,
        stochastic=row.stochastic,
        takes_eta=row.takes_eta,
        min_steps=row.min_steps,
        max_steps=row.max_steps,
        notes=sampler_notes(row),
    )
