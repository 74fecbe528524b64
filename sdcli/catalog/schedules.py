"""The schedule table: how the noise levels can be spread over the steps, one row a way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """One way to spread the noise levels, and the constructor options that ask for it."""

    name: str
    aliases: tuple[str, ...]
    config: Mapping[str, object] = field(default_factory=dict)
    package: str | None = None


SCHEDULES: Final = (
    Schedule(name="Normal", aliases=("uniform", "discrete")),
    Schedule(name="Karras", aliases=("k",), config={"use_karras_sigmas": True}),
    Schedule(name="Exponential", aliases=("exp",), config={"use_exponential_sigmas": True}),
    Schedule(name="Beta", aliases=(), config={"use_beta_sigmas": True}, package="scipy"),
    Schedule(name="Lu", aliases=("lu lambdas",), config={"use_lu_lambdas": True}),
    Schedule(
        name="SGM Uniform",
        aliases=("simple", "trailing"),
        config={"timestep_spacing": "trailing"},
    ),
    Schedule(
        name="DDIM Uniform",
        aliases=("leading",),
        config={"timestep_spacing": "leading", "steps_offset": 1},
    ),
)
