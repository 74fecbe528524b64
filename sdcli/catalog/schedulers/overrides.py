"""`NAME;key=value;…`: constructor options said by hand. Strict, and never ignored."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from sdcli.catalog.schedulers.class_options import CONSTRUCTORS, OptionInfo, option_info
from sdcli.catalog.schedulers.conflicts import check_ignored_options
from sdcli.catalog.schedulers.entries import Sampler
from sdcli.catalog.schedulers.lookup import normalize_name, schedule_suffixes
from sdcli.catalog.schedulers.samplers import SAMPLERS
from sdcli.catalog.schedulers.sigma_schedules import AUTOMATIC, SCHEDULES
from sdcli.catalog.schedulers.suggestions import unsupported_schedule_error
from sdcli.errors import UsageError, did_you_mean

# What people say here and mean elsewhere.
_SCHEDULE_WORDS = ("schedule", "schedule_type", "scheduler")
_FLAGS = {
    "eta": "--eta",
    "guidance_scale": "--guidance",
    "num_inference_steps": "--steps",
    "seed": "--seed",
    "steps": "--steps",
}
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def split_overrides(text: str) -> tuple[str, dict[str, str]]:
    """The name, and the options after it as they were typed. Raises UsageError for no key=value."""
    name, *parts = text.split(";")
    pairs: dict[str, str] = {}
    for part in filter(None, map(str.strip, parts)):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        key = re.sub(r"[-\s]+", "_", key.lower())
        if not (key and equals and value):
            raise _override_error(
                f"{part!r} is not key=value", "as in -s 'DPM++ 2M;solver_order=3'"
            )
        if key in pairs:
            raise _override_error(f"{key} is said twice", "say it once")
        pairs[key] = value
    return name.strip(), pairs


def parse_overrides(row: Sampler, pairs: Mapping[str, str]) -> dict[str, object]:
    """The options as values. Raises UsageError for what the class does not know or take."""
    known = CONSTRUCTORS[row.class_name]
    for key in pairs:
        if key not in known:
            raise _unknown_option_error(row, key, pairs[key])
    return {key: _value(row, key, text) for key, text in pairs.items()}


def extract_schedule(
    row: Sampler, schedule: str | None, said: Mapping[str, object]
) -> tuple[str | None, dict[str, object]]:
    """A flag like use_karras_sigmas is the schedule's word by another name: make it that word.

    Raises UsageError when the word and the flags contradict each other.
    """
    flags = {key: s.name for s in SCHEDULES for key in s.config if key.startswith("use_")}
    rest = {key: value for key, value in said.items() if key not in flags}
    for key in said.keys() & flags.keys():
        wanted, on = flags[key], bool(said[key])
        if (on and schedule not in (None, wanted)) or (not on and schedule == wanted):
            raise _override_error(
                f"{key}={format_value(said[key])} contradicts the {schedule} schedule",
                f"say one of them, as in -s '{row.name} {wanted}'",
            )
        if on:
            schedule = wanted
        else:
            rest[key] = False
    return schedule, rest


def check_overrides(
    row: Sampler, base: Mapping[str, object], said: Mapping[str, object], schedule: str
) -> None:
    """Refuse what the class would silently ignore beside its other options. Raises UsageError.

    `base` is the class's options before what was said.
    """
    said = {key: value for key, value in said.items() if base.get(key) != value}
    check_ignored_options(row, {**base, **said}, said, schedule)


def format_value(value: object) -> str:
    """A value as it is typed."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and float(f"{value:g}") == value:
        return f"{value:g}"
    return str(value)


def describe_accepted(known: OptionInfo) -> str:
    """What an option takes, in words."""
    if known.fixed:
        return f"cannot be set: {known.fixed}"
    if isinstance(known.takes[0], str):
        return ", ".join(map(str, known.takes))
    low, high = known.takes
    return f"a {'whole ' if isinstance(low, int) else ''}number from {low:g} to {high:g}"


def _value(row: Sampler, key: str, text: str) -> object:
    known = option_info(row.class_name, key)
    if known.fixed:
        raise _override_error(f"{row.class_name}: {key} cannot be set: {known.fixed}", None)
    value = _parsed(known.takes, text)
    if value is None:
        takes = describe_accepted(known)
        near = did_you_mean(text, map(str, known.takes)) if "," in takes else None
        raise _override_error(f"{row.class_name}: {key} is {takes}; not {text!r}", near)
    return value


def _parsed(takes: Sequence[object], text: str) -> object:
    """The value, or None for what is not taken."""
    word = text.lower()
    if takes == ("true", "false"):
        return True if word in _TRUE else False if word in _FALSE else None
    if isinstance(takes[0], str):
        return word if word in takes else None
    low, high = takes
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    try:
        number = int(text) if isinstance(low, int) else float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and low <= number <= high else None


def _unknown_option_error(row: Sampler, key: str, text: str) -> UsageError:
    named = dict(schedule_suffixes()).get(normalize_name(text if key in _SCHEDULE_WORDS else key))
    if named and named not in (*row.schedules, AUTOMATIC):
        return unsupported_schedule_error(row, named)
    others = ", ".join(other.name for other in SAMPLERS if _takes(other, key))
    if named:
        hint: str | None = f"a schedule is part of the name, as in -s '{row.name} {named}'"
    elif key == "eta" and not row.takes_eta:
        able = ", ".join(other.name for other in SAMPLERS if other.takes_eta)
        hint = f"--eta works with {able}"
    elif key in _FLAGS:
        hint = f"it is an option of its own: {_FLAGS[key]} {text}"
    else:
        hint = f"{key} works with {others}" if others else None
    return _override_error(
        f"{row.class_name} has no option {key}",
        hint
        or did_you_mean(key, CONSTRUCTORS[row.class_name])
        or f"sdcli schedulers show {row.class_name!r} lists its options",
    )


def _takes(row: Sampler, key: str) -> bool:
    """Whether the row can have that option said, for itself or as its schedule."""
    flags = (s.name for s in SCHEDULES if key in s.config and key.startswith("use_"))
    known = key in CONSTRUCTORS[row.class_name] and not option_info(row.class_name, key).fixed
    return known and all(name in row.schedules for name in flags)


def _override_error(what: str, hint: str | None) -> UsageError:
    return UsageError(f"--scheduler: {what}", code="scheduler.options", hint=hint)
