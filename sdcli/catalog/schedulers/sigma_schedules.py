"""List the noise schedules: ways to spread the noise levels over the steps."""

from __future__ import annotations

from typing import Final

from sdcli.catalog.schedulers.sampler_types import Schedule

AUTOMATIC: Final = "Automatic"
"""A1111's name for the schedule that suits the sampler best."""

SCHEDULES: Final = (
    Schedule(name="Normal", aliases=("uniform", "discrete")),
    Schedule(name="Karras", aliases=("k", "ka"), config={"use_karras_sigmas": True}),
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
        aliases=("leading", "ddim"),
        # The offset in Stable Diffusion's own scheduler configuration; the classes default to 0.
        config={"timestep_spacing": "leading", "steps_offset": 1},
    ),
)


def get_schedule(name: str) -> Schedule:
    """Return the row with exactly that name, which must exist."""
    return next(row for row in SCHEDULES if row.name == name)
