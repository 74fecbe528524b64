"""Decide which UNet calls of a run compute everything, when others keep what those computed."""

from __future__ import annotations

from typing import Final

FULL_AT_START: Final = 3
"""UNet calls at the start of a run that compute everything: there, most changes from call to call.
"""

FULL_AT_END: Final = 2
"""UNet calls at its end that do: they draw the details."""


def is_full_call(call: int, calls: int, every: int) -> bool:
    """Whether a UNet call, of so many, computes everything; it counts from 0.

    Options with the same `every` have the same full calls.
    """
    since_start = call - (FULL_AT_START - 1)
    return since_start <= 0 or call >= calls - FULL_AT_END or since_start % every == 0
