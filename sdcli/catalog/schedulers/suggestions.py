"""Why a name of a scheduler cannot be had, and what to type instead."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache

from sdcli.catalog.schedulers.entries import Sampler
from sdcli.catalog.schedulers.lookup import normalize_name, sampler_index, schedule_suffixes
from sdcli.catalog.schedulers.samplers import SAMPLERS
from sdcli.catalog.schedulers.unsupported import UNSUPPORTED, UNSUPPORTED_SCHEDULES
from sdcli.errors import UsageError

_CFG = "cfgpp"
_OWN = "leave --scheduler out for the model's own"


def unsupported_schedule_error(row: Sampler, schedule: str) -> UsageError:
    """For a schedule that the row does not take."""
    others = ", ".join(other.name for other in SAMPLERS if schedule in other.schedules)
    able = f"schedules of {row.name}: {', '.join(row.schedules)}"
    why = row.unsupported_schedules.get(schedule)
    return UsageError(
        f"{row.name} takes no {schedule} schedule: {why}"
        if why
        else f"{row.name} has no {schedule} schedule in Diffusers, it would be ignored",
        code="scheduler.schedule",
        hint=f"{able}; {schedule} works with {others}" if others else able,
    )


def unknown_scheduler_error(name: str) -> UsageError:
    """For a name that no row has: one of another program, of a schedule alone, or a slip."""
    key = normalize_name(name)
    if refusal := _unnamed(name, key) or _impossible(name, key) or _impossible_schedule(key):
        return refusal
    near = _near(key)
    names = ", ".join(row.name for row in SAMPLERS)
    return UsageError(
        f"no scheduler is called {name!r}",
        code="scheduler.unknown",
        hint=f"did you mean {near}?" if near else f"known: {names}; and Diffusers' class names",
    )


def _unnamed(name: str, key: str) -> UsageError | None:
    """For no sampler at all: nothing, a word for the model's own, or a schedule alone."""
    if key in ("", "auto", "default", "none"):
        said = f"no scheduler is called {name!r}" if name else "--scheduler: no name"
        return UsageError(said, code="scheduler.unknown", hint=_OWN)
    schedule = dict(schedule_suffixes()).get(key) or _impossible_endings().get(key)
    if schedule is None:
        return None
    example = schedule if schedule not in UNSUPPORTED_SCHEDULES else "Karras"
    return UsageError(
        f"{name!r} is a schedule, and needs a sampler before it",
        code="scheduler.unknown",
        hint=f"as in -s 'DPM++ 2M {example}'; or {_OWN}",
    )


def _impossible(name: str, key: str) -> UsageError | None:
    for stem, schedule in _stems(key):
        if known := _why_not(stem):
            why, nearest = known
            row = sampler_index()[normalize_name(nearest)].sampler if nearest else None
            word = f" {schedule}" if row and schedule in row.schedules else ""
            return UsageError(
                f"scheduler {name!r} cannot be had: {why}",
                code="scheduler.impossible",
                hint=f"the nearest is -s '{nearest}{word}'" if nearest else "sdcli schedulers list",
            )
    return None


def _why_not(stem: str) -> tuple[str, str] | None:
    """Why that sampler cannot be had, and the nearest that can."""
    if stem.endswith(_CFG):
        base = stem.removesuffix(_CFG)
        found = sampler_index().get(base)
        nearest = found.sampler.name if found else _impossible_names().get(base, ("", ""))[1]
        return "Diffusers has no CFG++", nearest
    return _impossible_names().get(stem.removesuffix("scheduler"))


@cache
def _impossible_names() -> dict[str, tuple[str, str]]:
    keyed = [(normalize_name(name), why) for name, why in UNSUPPORTED.items()]
    classes = {key.removesuffix("scheduler"): why for key, why in keyed}
    return classes | {key: why for key, why in keyed if not key.endswith("scheduler")}


@cache
def _impossible_endings() -> dict[str, str]:
    return {normalize_name(name): name for name in UNSUPPORTED_SCHEDULES}


def _stems(key: str) -> Iterator[tuple[str, str | None]]:
    """The key with and without a schedule at its end, and without the k of A1111's API."""
    cut = [(key.removesuffix(e), name) for e, name in schedule_suffixes() if key.endswith(e)]
    cut += [(key.removesuffix(e), n) for e, n in _impossible_endings().items() if key.endswith(e)]
    for stem, schedule in [(key, None), *cut]:
        yield stem, schedule
        yield stem.removeprefix("k"), schedule


def _impossible_schedule(key: str) -> UsageError | None:
    for ending, schedule in _impossible_endings().items():
        if key.endswith(ending) and (found := sampler_index().get(key.removesuffix(ending))):
            row, (why, nearest) = found.sampler, UNSUPPORTED_SCHEDULES[schedule]
            able = f"schedules of {row.name}: {', '.join(row.schedules)}"
            near = f"the nearest is -s '{row.name} {nearest}'; " * (nearest in row.schedules)
            return UsageError(
                f"{row.name} cannot have the {schedule} schedule: {why}",
                code="scheduler.schedule",
                hint=near + able,
            )
    return None


def _near(key: str) -> str | None:
    """What was probably meant: with a schedule well spelled, only the sampler is a slip."""
    samplers, pairs = _spellings()
    for ending, schedule in schedule_suffixes():
        if len(ending) > 2 and key.endswith(ending):
            stem = get_close_matches(key.removesuffix(ending), samplers, n=1)
            return f"{samplers[stem[0]]} {schedule}" if stem else None
    near = (
        get_close_matches(key, samplers, n=1, cutoff=0.85)
        or get_close_matches(key, pairs, n=1, cutoff=0.8)
        or get_close_matches(key, samplers, n=1)
    )
    return {**samplers, **pairs}[near[0]] if near else None


@cache
def _spellings() -> tuple[dict[str, str], dict[str, str]]:
    """Keys of all names, and of all names with a schedule, to the canonical spelling."""
    samplers: dict[str, str] = {}
    pairs: dict[str, str] = {}
    for row in SAMPLERS:
        bare = row.class_name.removesuffix("Scheduler")
        for name in (row.name, *row.aliases, row.class_name, bare):
            shown = row.class_name if name in (row.class_name, bare) else row.name
            samplers.setdefault(normalize_name(name), shown)
            for schedule in row.schedules:
                pairs.setdefault(normalize_name(f"{name} {schedule}"), f"{shown} {schedule}")
    return samplers, pairs
