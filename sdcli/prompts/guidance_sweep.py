"""Sweep the guidance scale past 1, where other settings have no effect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sdcli.prompts.sweep import SweepAxes
from sdcli.request import REQUEST_FIELDS, describe_field

_SCALE: Final = "guidance_scale"
_NEEDING: Final = tuple(name for name, info in REQUEST_FIELDS.items() if info.needs_guidance)


def without_guidance(values: Mapping[str, object], axes: SweepAxes) -> dict[str, None]:
    """Return the settings to leave out of one combination of a sweep, as None each.

    They are those that need guidance, where only other values of the same sweep have it. Alone, a
    scale of 1 or less makes them an error.
    """
    if not _passes_one(axes) or _is_guided(values[_SCALE]):
        return {}
    return {name: None for name in _NEEDING if values.get(name) is not None}


def guidance_notes(axes: SweepAxes) -> tuple[str, ...]:
    """Return a warning if a sweep has combinations that leave settings out."""
    unused = [describe_field(name) for name in _NEEDING if set(axes.get(name, ())) - {None}]
    if not unused or not _passes_one(axes):
        return ()
    verb = "has" if len(unused) == 1 else "have"
    return (f"{', '.join(unused)} {verb} no effect on the images of a guidance of 1 or less",)


def _passes_one(axes: SweepAxes) -> bool:
    """Whether some values of the swept guidance scale turn guidance on, and others do not."""
    return {_is_guided(scale) for scale in axes.get(_SCALE, ())} == {True, False}


def _is_guided(scale: object) -> bool:
    return not isinstance(scale, int | float) or scale > 1
