"""Parse and check the constructor options in `NAME;key=value;...`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from sdcli.catalog.schedulers.class_options import CONSTRUCTORS
from sdcli.catalog.schedulers.conflicts import check_ignored_options
from sdcli.catalog.schedulers.lookup import normalize_name, schedule_suffixes
from sdcli.catalog.schedulers.option_info import OptionInfo, option_info
from sdcli.catalog.schedulers.sampler_table import SAMPLERS
from sdcli.catalog.schedulers.sampler_types import Sampler
from sdcli.catalog.schedulers.sigma_schedules import AUTOMATIC, SCHEDULES
from sdcli.catalog.schedulers.suggestions import unsupported_schedule_error
from sdcli.errors import UsageError, did_you_mean, quoted

# Keys that users type here although the value belongs elsewhere: in the name, or in a flag.
_SCHEDULE_KEYS = ("schedule", "schedule_type", "scheduler")
_FLAGS = {
    "eta": "--eta",
    "guidance_scale": "--guidance",
    "num_inference_steps": "--steps",
    "seed": "--seed",
    "steps": "--steps",
}
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")

# use_karras_sigmas -> Karras, and so on.
_SCHEDULE_FLAGS = {
    key: schedule.name
    for schedule in SCHEDULES
    for key in schedule.config
    if key.startswith("use_")
}


def split_overrides(text: str) -> tuple[str, dict[str, str]]:
    """Split `NAME;key=value;...` into the name and the options, with values still as text.

    Keys are lower-cased, with "_" for spaces and hyphens. Raises UsageError for a part that is not
    key=value and for a key that is given twice.
    """
    name, *parts = text.split(";")
    pairs: dict[str, str] = {}
    for part in filter(None, map(str.strip, parts)):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        key = re.sub(r"[-\s]+", "_", key.lower())
        if not (key and equals and value):
            raise _override_error(
                f"{quoted(part)} is not key=value", "for example -s 'DPM++ 2M;solver_order=3'"
            )
        if key in pairs:
            raise _override_error(f"{key} is given twice", "give it once")
        pairs[key] = value
    return name.strip(), pairs


def parse_overrides(row: Sampler, pairs: Mapping[str, str]) -> dict[str, object]:
    """Convert the values of the options.

    Raises UsageError for an option that the class does not have, and for a value that it does not
    accept.
    """
    options = CONSTRUCTORS[row.class_name]
    for key in pairs:
        if key not in options:
            raise _unknown_option_error(row, key, pairs[key])
    return {key: _parse_value(row, key, text) for key, text in pairs.items()}


def extract_schedule(
    row: Sampler, schedule: str | None, overrides: Mapping[str, object]
) -> tuple[str | None, dict[str, object]]:
    """Move a flag such as use_karras_sigmas=true from the overrides into the schedule.

    Returns the schedule and the remaining overrides. Raises UsageError if the flags and `schedule`
    contradict each other.
    """
    remaining = {key: value for key, value in overrides.items() if key not in _SCHEDULE_FLAGS}
    for key in overrides.keys() & _SCHEDULE_FLAGS.keys():
        name, enabled = _SCHEDULE_FLAGS[key], bool(overrides[key])
        if (enabled and schedule not in (None, name)) or (not enabled and schedule == name):
            raise _override_error(
                f"{key}={format_value(overrides[key])} contradicts the {schedule} schedule",
                f"give only one of them, for example -s '{row.name} {name}'",
            )
        if enabled:
            schedule = name
        else:
            # Kept: it switches off a flag that a model's own configuration may have set.
            remaining[key] = False
    return schedule, remaining


def check_overrides(
    row: Sampler, base: Mapping[str, object], overrides: Mapping[str, object], schedule: str
) -> None:
    """Raise UsageError for overrides that the class would silently ignore.

    `base` is the options of the scheduler without the overrides. An override that repeats the
    value in `base` is accepted.
    """
    changes = {key: value for key, value in overrides.items() if base.get(key) != value}
    check_ignored_options(row, {**base, **changes}, changes, schedule)


def format_value(value: object) -> str:
    """Format a value as it can be typed; parsing the text gives the same value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    # %g is shorter, but keeps only six digits.
    if isinstance(value, float) and float(f"{value:g}") == value:
        return f"{value:g}"
    return str(value)


def describe_accepted(info: OptionInfo) -> str:
    """Describe the values that an option accepts."""
    if info.fixed_reason:
        return f"cannot be set: {info.fixed_reason}"
    if isinstance(info.accepted[0], str):
        return ", ".join(map(str, info.accepted))
    low, high = info.accepted
    return f"{'an integer' if isinstance(low, int) else 'a number'} from {low:g} to {high:g}"


def _parse_value(row: Sampler, key: str, text: str) -> object:
    info = option_info(row.class_name, key)
    if info.fixed_reason:
        raise _override_error(f"{row.class_name}: {key} cannot be set: {info.fixed_reason}", None)
    value = _convert_text(info.accepted, text)
    if value is None:
        has_words = isinstance(info.accepted[0], str)
        accepted = ("one of " * (len(info.accepted) > 1) * has_words) + describe_accepted(info)
        suggestion = did_you_mean(text, map(str, info.accepted)) if has_words else None
        raise _override_error(
            f"{row.class_name}: {key} must be {accepted}, not {quoted(text)}", suggestion
        )
    return value


def _convert_text(accepted: Sequence[object], text: str) -> object:
    """Return the value, or None if it is not among the accepted ones."""
    word = text.lower()
    if accepted == ("true", "false"):
        return True if word in _TRUE else False if word in _FALSE else None
    if isinstance(accepted[0], str):
        return word if word in accepted else None
    low, high = accepted
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    try:
        number = int(text) if isinstance(low, int) else float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and low <= number <= high else None


def _unknown_option_error(row: Sampler, key: str, text: str) -> UsageError:
    """Return the error for an option that the class does not have, with the closest alternative."""
    name = normalize_name(text if key in _SCHEDULE_KEYS else key)
    schedule = dict(schedule_suffixes()).get(name)
    if schedule and schedule not in (*row.schedules, AUTOMATIC):
        return unsupported_schedule_error(row, schedule)
    return _override_error(
        f"{row.class_name} has no option {key}",
        (
            f"a schedule is part of the name, for example -s '{row.name} {schedule}'"
            if schedule
            else _other_place_hint(row, key, text)
        )
        or did_you_mean(key, CONSTRUCTORS[row.class_name])
        or f"list its options with `sdcli schedulers show {row.class_name}`",
    )


def _other_place_hint(row: Sampler, key: str, text: str) -> str | None:
    """Return the flag or the samplers that a key without effect here belongs to."""
    if key == "eta" and not row.takes_eta:
        names = ", ".join(other.name for other in SAMPLERS if other.takes_eta)
        return f"--eta works with {names}"
    if key in _FLAGS:
        return f"use the command-line option: {_FLAGS[key]} {text}"
    names = ", ".join(other.name for other in SAMPLERS if _accepts_option(other, key))
    return f"{key} works with {names}" if names else None


def _accepts_option(row: Sampler, key: str) -> bool:
    """Whether the option can be set for that sampler, as an option or through its schedule."""
    if key in _SCHEDULE_FLAGS and _SCHEDULE_FLAGS[key] not in row.schedules:
        return False
    exists = key in CONSTRUCTORS[row.class_name]
    return exists and not option_info(row.class_name, key).fixed_reason


def _override_error(message: str, hint: str | None) -> UsageError:
    return UsageError(f"--scheduler: {message}", code="scheduler.options", hint=hint)
