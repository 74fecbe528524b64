"""Describe the field that keeps deep features of the UNet, and which calls compute them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sdcli.field_metadata import setting

FULL_AT_START: Final = 3
"""UNet calls at the start of a run that compute everything: there, the features change most."""

FULL_AT_END: Final = 2
"""UNet calls at its end that do: they draw the details."""


@dataclass(frozen=True, kw_only=True)
class FeatureCacheRequestField:
    """How often the deep features of the UNet are computed, None for every step."""

    feature_cache: int | None = setting(
        None,
        "--feature-cache",
        metavar="N",
        help="Compute the deep features of the UNet at every Nth step only, which is faster and "
        f"changes the image a little. The first {FULL_AT_START} and the last {FULL_AT_END} steps "
        "compute them in any case. 1 turns it off.",
        minimum=1,
        maximum=100,
        sweep=155,
        a1111="Feature cache",
        resolved=1,
    )


@dataclass(frozen=True, kw_only=True)
class FeatureCacheJobField:
    """At which steps deep features are computed: every Nth, so that 1 is all of them."""

    feature_cache: int = 1


def is_full_call(call: int, calls: int, every: int) -> bool:
    """Whether a UNet call, of so many, computes its deep features; it counts from 0."""
    since_start = call - (FULL_AT_START - 1)
    return since_start <= 0 or call >= calls - FULL_AT_END or since_start % every == 0
