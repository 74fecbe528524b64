"""Describe the field that keeps deep features of the UNet."""

from __future__ import annotations

from dataclasses import dataclass

from sdcli.field_metadata import setting
from sdcli.full_calls import FULL_AT_END, FULL_AT_START


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
