"""Find the sampler and the schedule that a scheduler name stands for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from sdcli.catalog.schedulers.sampler_table import SAMPLERS
from sdcli.catalog.schedulers.sampler_types import Sampler
from sdcli.catalog.schedulers.sigma_schedules import AUTOMATIC, SCHEDULES
from sdcli.catalog.schedulers.unsupported import UNSUPPORTED


@dataclass(frozen=True)
class SamplerMatch:
    """A row of the sampler table found by name.

    `is_class_name` tells that the name is the Diffusers class ("EulerDiscrete"), which leaves the
    model's own options in place, and not the sampler ("Euler").
    """

    sampler: Sampler
    is_class_name: bool


def normalize_name(name: str) -> str:
    """Return the lookup key of a name: lower-case letters and digits, with "++" as "pp"."""
    return re.sub(r"[^a-z0-9]", "", name.lower().replace("++", "pp"))


def find_sampler(name: str) -> tuple[SamplerMatch, str | None] | None:
    """Find the sampler, and the schedule (or "Automatic") if `name` ends with one.

    Returns None for an unknown name.
    """
    key = normalize_name(name)
    if match := sampler_index().get(key):
        return match, None
    for suffix, schedule in schedule_suffixes():
        if key.endswith(suffix) and (match := sampler_index().get(key.removesuffix(suffix))):
            return match, schedule
    return None


@cache
def sampler_index() -> dict[str, SamplerMatch]:
    """Map the keys of all names to their rows.

    Names of samplers win over names of classes, and exact names over lenient ones.
    """
    exact = {
        normalize_name(name): SamplerMatch(row, False)
        for row in SAMPLERS
        for name in (row.name, *row.aliases)
    }
    # A1111's API prefixes the samplers of k-diffusion with k_, and many users leave the ++ out.
    prefixed = {f"k{key}": match for key, match in exact.items()}
    without_plus = {key.replace("pp", ""): match for key, match in exact.items()}
    # A lenient spelling must not capture the name of a sampler that is refused with a reason.
    unsupported = {normalize_name(name) for name in UNSUPPORTED}
    lenient = {k: v for k, v in (prefixed | without_plus).items() if k not in unsupported}
    return lenient | _class_index() | exact


def _class_index() -> dict[str, SamplerMatch]:
    """Map class names, with and without "Scheduler", to the first row of the class."""
    index: dict[str, SamplerMatch] = {}
    for row in SAMPLERS:
        for name in (row.class_name, row.class_name.removesuffix("Scheduler")):
            index.setdefault(normalize_name(name), SamplerMatch(row, True))
    return index


@cache
def schedule_suffixes() -> list[tuple[str, str]]:
    """Return (key, schedule) for every name of a schedule, the longest keys first.

    The order matters where one key ends with another ("sgmuniform" and "uniform").
    """
    pairs = [
        (normalize_name(name), row.name) for row in SCHEDULES for name in (row.name, *row.aliases)
    ]
    return sorted([*pairs, (normalize_name(AUTOMATIC), AUTOMATIC)], key=lambda pair: -len(pair[0]))
