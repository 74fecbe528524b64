"""Build the errors for scheduler names that cannot be used, each with a suggestion."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache

from sdcli.catalog.schedulers.lookup import normalize_name, sampler_index, schedule_suffixes
from sdcli.catalog.schedulers.sampler_table import SAMPLERS
from sdcli.catalog.schedulers.sampler_types import Sampler
from sdcli.catalog.schedulers.unsupported import UNSUPPORTED, UNSUPPORTED_SCHEDULES
from sdcli.errors import UsageError, quoted

_CFG_PLUS_PLUS = "cfgpp"
_OMIT_HINT = "omit --scheduler to use the model's own"


def unsupported_schedule_error(row: Sampler, schedule: str) -> UsageError:
    """Return the error for a schedule that the sampler does not support."""
    others = ", ".join(other.name for other in SAMPLERS if schedule in other.schedules)
    supported = _supported_schedules(row)
    reason = row.unsupported_schedules.get(schedule, "Diffusers would ignore it")
    return UsageError(
        f"{row.name} does not support the {schedule} schedule: {reason}",
        code="scheduler.schedule",
        hint=f"{supported}; {schedule} works with {others}" if others else supported,
    )


def unknown_scheduler_error(name: str) -> UsageError:
    """Return the error for a name that is not in the sampler table.

    Explains names of samplers and schedules that only other programs have, and suggests a
    correction for a misspelled name.
    """
    key = normalize_name(name)
    error = (
        _missing_sampler_error(name, key)
        or _unsupported_sampler_error(name, key)
        or _foreign_schedule_error(key)
    )
    if error:
        return error
    suggestion = _find_suggestion(key)
    names = ", ".join(row.name for row in SAMPLERS)
    return UsageError(
        f"unknown scheduler {quoted(name)}",
        code="scheduler.unknown",
        hint=f"did you mean {suggestion}?"
        if suggestion
        else f"known: {names}; and Diffusers class names",
    )


def _supported_schedules(row: Sampler) -> str:
    return f"schedules of {row.name}: {', '.join(row.schedules)}"


def _missing_sampler_error(name: str, key: str) -> UsageError | None:
    """Return the error for an empty name, a word for the default, or a schedule alone."""
    if key in ("", "auto", "default", "none"):
        message = f"unknown scheduler {quoted(name)}" if name else "--scheduler: the name is empty"
        return UsageError(message, code="scheduler.unknown", hint=_OMIT_HINT)
    schedule = dict(schedule_suffixes()).get(key) or _foreign_schedules().get(key)
    if schedule is None:
        return None
    example = schedule if schedule not in UNSUPPORTED_SCHEDULES else "Karras"
    return UsageError(
        f"{quoted(name)} is a schedule and needs a sampler in front of it",
        code="scheduler.unknown",
        hint=f"for example -s 'DPM++ 2M {example}'; or {_OMIT_HINT}",
    )


def _unsupported_sampler_error(name: str, key: str) -> UsageError | None:
    """Return the error for a sampler that Diffusers lacks, with or without a schedule."""
    for stem, schedule in _split_schedule(key):
        if entry := _find_unsupported(stem):
            reason, nearest = entry
            row = sampler_index()[normalize_name(nearest)].sampler if nearest else None
            suffix = f" {schedule}" if row and schedule in row.schedules else ""
            return UsageError(
                f"scheduler {quoted(name)} is not available: {reason}",
                code="scheduler.impossible",
                hint=f"the nearest is -s '{nearest}{suffix}'"
                if nearest
                else "sdcli schedulers list",
            )
    return None


def _find_unsupported(key: str) -> tuple[str, str] | None:
    """Return (reason, nearest sampler or "") for a sampler that Diffusers lacks."""
    if key.endswith(_CFG_PLUS_PLUS):
        base = key.removesuffix(_CFG_PLUS_PLUS)
        match = sampler_index().get(base)
        nearest = match.sampler.name if match else _unsupported_index().get(base, ("", ""))[1]
        return "Diffusers has no CFG++", nearest
    return _unsupported_index().get(key.removesuffix("scheduler"))


@cache
def _unsupported_index() -> dict[str, tuple[str, str]]:
    entries = [(normalize_name(name), entry) for name, entry in UNSUPPORTED.items()]
    classes = {key.removesuffix("scheduler"): entry for key, entry in entries}
    # "IPNDM" is both a class and a sampler of other programs; the entry of the sampler wins.
    return classes | {key: entry for key, entry in entries if not key.endswith("scheduler")}


@cache
def _foreign_schedules() -> dict[str, str]:
    return {normalize_name(name): name for name in UNSUPPORTED_SCHEDULES}


def _split_schedule(key: str) -> Iterator[tuple[str, str | None]]:
    """Yield (sampler key, schedule) for each way to read the end of `key` as a schedule.

    Each sampler key is also yielded without the k of the k_ prefix in A1111's API.
    """
    suffixes = [*schedule_suffixes(), *_foreign_schedules().items()]
    splits = [(key.removesuffix(end), name) for end, name in suffixes if key.endswith(end)]
    for stem, schedule in [(key, None), *splits]:
        yield stem, schedule
        yield stem.removeprefix("k"), schedule


def _foreign_schedule_error(key: str) -> UsageError | None:
    """Return the error for a known sampler with a schedule that Diffusers lacks."""
    for suffix, schedule in _foreign_schedules().items():
        if key.endswith(suffix) and (match := sampler_index().get(key.removesuffix(suffix))):
            row, (reason, nearest) = match.sampler, UNSUPPORTED_SCHEDULES[schedule]
            hint = f"the nearest is -s '{row.name} {nearest}'; " * (nearest in row.schedules)
            return UsageError(
                f"{row.name} does not support the {schedule} schedule: {reason}",
                code="scheduler.schedule",
                hint=hint + _supported_schedules(row),
            )
    return None


def _find_suggestion(key: str) -> str | None:
    """Return the name that `key` is probably a misspelling of."""
    samplers, pairs = _spellings()
    # If the schedule is spelled correctly, only the sampler is compared. The shortest keys ("k")
    # say too little: most words that end so are not meant to have a schedule.
    for suffix, schedule in schedule_suffixes():
        if len(suffix) > 2 and key.endswith(suffix):
            stem = get_close_matches(key.removesuffix(suffix), samplers, n=1)
            return f"{samplers[stem[0]]} {schedule}" if stem else None
    matches = (
        get_close_matches(key, samplers, n=1, cutoff=0.85)
        or get_close_matches(key, pairs, n=1, cutoff=0.8)
        or get_close_matches(key, samplers, n=1)
    )
    return {**samplers, **pairs}[matches[0]] if matches else None


@cache
def _spellings() -> tuple[dict[str, str], dict[str, str]]:
    """Map the keys of all names, and of all names with a schedule, to canonical names."""
    samplers: dict[str, str] = {}
    pairs: dict[str, str] = {}
    for row in SAMPLERS:
        class_names = (row.class_name, row.class_name.removesuffix("Scheduler"))
        for name in (row.name, *row.aliases, *class_names):
            canonical = row.class_name if name in class_names else row.name
            samplers.setdefault(normalize_name(name), canonical)
            for schedule in row.schedules:
                pairs.setdefault(normalize_name(f"{name} {schedule}"), f"{canonical} {schedule}")
    return samplers, pairs
