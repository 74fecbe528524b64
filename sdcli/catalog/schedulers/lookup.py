"""Names of schedulers: the row of the sampler table that one means, and the schedule at its end."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from sdcli.catalog.schedulers.entries import Sampler
from sdcli.catalog.schedulers.samplers import SAMPLERS
from sdcli.catalog.schedulers.sigma_schedules import AUTOMATIC, SCHEDULES
from sdcli.catalog.schedulers.unsupported import UNSUPPORTED


@dataclass(frozen=True)
class SamplerMatch:
    """A row, and whether its class was named, not the sampler ("EulerDiscrete", not "Euler")."""

    sampler: Sampler
    bare: bool


def normalize_name(name: str) -> str:
    """What is left of a name when case, spaces, _ and + are forgiven."""
    return re.sub(r"[^a-z0-9]", "", name.lower().replace("++", "pp"))


def find_sampler(name: str) -> tuple[SamplerMatch, str | None] | None:
    """The row, and the schedule or Automatic if one was said; None for a name nobody knows."""
    key = normalize_name(name)
    if found := sampler_index().get(key):
        return found, None
    for ending, schedule in schedule_suffixes():
        if key.endswith(ending) and (found := sampler_index().get(key.removesuffix(ending))):
            return found, schedule
    return None


@cache
def sampler_index() -> dict[str, SamplerMatch]:
    """Keys of samplers win over keys of classes ("DDIM"), exact ones over those without a ++.

    A1111's API says a k before the names of k-diffusion's samplers.
    """
    exact = {
        normalize_name(n): SamplerMatch(row, False)
        for row in SAMPLERS
        for n in (row.name, *row.aliases)
    }
    impossible = {normalize_name(name) for name in UNSUPPORTED}
    loose = {key.replace("pp", ""): found for key, found in exact.items()}
    classes: dict[str, SamplerMatch] = {}
    for row in SAMPLERS:
        for key in (
            normalize_name(row.class_name),
            normalize_name(row.class_name.removesuffix("Scheduler")),
        ):
            classes.setdefault(key, SamplerMatch(row, True))
    forgiven = {f"k{key}": found for key, found in exact.items()} | loose
    return {k: v for k, v in forgiven.items() if k not in impossible} | classes | exact


@cache
def schedule_suffixes() -> list[tuple[str, str]]:
    """Every word for a schedule as a key, with the schedule's name; longer ones first."""
    pairs = [(normalize_name(n), row.name) for row in SCHEDULES for n in (row.name, *row.aliases)]
    return sorted([*pairs, (normalize_name(AUTOMATIC), AUTOMATIC)], key=lambda pair: -len(pair[0]))
