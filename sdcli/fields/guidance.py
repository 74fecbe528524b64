"""Describe the guidance of requests and jobs beyond one scale, and how it is written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from sdcli.errors import UsageError, quoted
from sdcli.field_metadata import setting
from sdcli.field_validation import check_text
from sdcli.full_calls import FULL_AT_END, FULL_AT_START
from sdcli.listed_files import NONE

Schedule = tuple[tuple[float, float], ...]
"""Fractions of the run, and the guidance scale from each of them on."""

_LARGEST: Final = 1000
_MOST_POINTS: Final = 1000
_NUMBER: Final = r"(\d{1,4}(?:\.\d{0,10})?|\.\d{1,10})"
_POINT: Final = re.compile(rf"\s*{_NUMBER}\s*:\s*{_NUMBER}\s*")
_START: Final = re.compile(r"\s*(0+(\.0*)?|\.0+)\s*:")
_EXAMPLE: Final = "0:7.5,0.4:4,0.8:1"


def parse_schedule(text: str | None) -> Schedule:
    """Parse "0:7.5,0.4:4,0.8:1"; without a schedule there are no points. Raises UsageError."""
    if text is None or text.strip().lower() == NONE:
        return ()
    matches = [_POINT.fullmatch(part) for part in text.split(",")]
    points = [(float(match[1]), float(match[2])) for match in matches if match]
    if len(points) != len(matches) or len(points) > _MOST_POINTS:
        raise schedule_error(text, "is not a list of FRACTION:SCALE")
    fractions = [fraction for fraction, _ in points]
    if fractions[0] != 0:
        raise schedule_error(text, "does not begin at 0")
    if any(before >= after for before, after in pairwise(fractions)):
        raise schedule_error(text, "has fractions that do not increase")
    if fractions[-1] >= 1:
        raise schedule_error(text, "has a fraction that is not below 1")
    if max(scale for _, scale in points) > _LARGEST:
        raise schedule_error(text, f"has a scale above {_LARGEST}")
    return tuple(points)


def name_schedule(text: str | None) -> str | None:
    """Write a schedule in one spelling for all that mean the same, None for none."""
    points = parse_schedule(text)
    return ",".join(f"{at:.10g}:{scale:.10g}" for at, scale in points) or None


def largest_scale(text: str | None) -> float | None:
    """The largest guidance scale of a schedule, None without one."""
    return max((scale for _, scale in parse_schedule(text)), default=None)


def split_schedules(text: str) -> list[str]:
    """Split the values of a sweep: a schedule begins at 0, or is "none"."""
    values: list[list[str]] = []
    for part in text.split(","):
        if not values or _begins(part) or values[-1] == [NONE]:
            values.append([])
        values[-1].append(part.strip())
    return [",".join(parts) for parts in values]


def _begins(part: str) -> bool:
    return bool(_START.match(part)) or part.strip().lower() == NONE


def schedule_error(text: str, reason: str) -> UsageError:
    """The error of a text that is no schedule."""
    return UsageError(
        f"guidance_schedule: {quoted(text)} {reason}",
        code="usage.guidance_schedule",
        hint=f"e.g. --guidance-schedule {_EXAMPLE}: fractions of the run from 0, and a scale each",
    )


@dataclass(frozen=True, kw_only=True)
class GuidanceRequestField:
    """Guidance beyond one scale.

    `guidance_schedule` is the scale of each part of the run as text: "0:7.5,0.4:4,0.8:1".
    `guidance_every` tells how often guidance is computed. `pag_scale` is the scale of
    perturbed-attention guidance (PAG).
    """

    guidance_schedule: str | None = setting(
        None,
        "--guidance-schedule",
        metavar="F:N,F:N",
        help=f"Guidance scales from fractions of the run on, in place of --guidance: {_EXAMPLE} "
        "has 7.5 at first, 4 from 40 percent on, and at last none, which takes half the time. "
        "none for none.",
        sweep=111,
        a1111="Guidance schedule",
        needs_guidance=True,
    )
    guidance_every: int | None = setting(
        None,
        "--guidance-every",
        metavar="N",
        help="Compute the unconditional prediction at every Nth step only, and keep the last "
        "difference in between, which is faster and changes the image a little. The first "
        f"{FULL_AT_START} and the last {FULL_AT_END} steps compute it in any case. "
        "1 turns it off.",
        minimum=1,
        maximum=100,
        sweep=145,
        a1111="Guidance every",
        resolved=1,
        needs_guidance=True,
    )
    pag_scale: float | None = setting(
        None,
        "--pag",
        metavar="N",
        help="Perturbed-attention guidance: how far to go away from an image with less structure, "
        "also without --guidance; 3 is usual. 0 turns it off. An image takes half as long again.",
        minimum=0,
        maximum=100,
        sweep=115,
        a1111="PAG Scale",
        resolved=0.0,
    )

    def check_guidance_schedule(self) -> None:
        """Raise UsageError for text that is no schedule."""
        check_text("guidance_schedule", self.guidance_schedule, optional=True)
        parse_schedule(self.guidance_schedule)


@dataclass(frozen=True, kw_only=True)
class GuidanceJobField:
    """The guidance schedule of a job, None for the same scale throughout, and the scale of PAG.

    The unconditional prediction is computed at every Nth step, of which `guidance_every` is the N.
    """

    guidance_schedule: str | None = None
    guidance_every: int = 1
    pag_scale: float = 0.0


def scale_at(schedule: Schedule, scale: float, call: int, calls: int) -> float:
    """Return the guidance scale of a UNet call, counted from 0, of so many in the whole run.

    Without a schedule, it is the `scale` of the run.
    """
    passed = [point for fraction, point in schedule if fraction * calls <= call]
    return passed[-1] if passed else scale
