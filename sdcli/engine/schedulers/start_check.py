"""Warn about runs that begin far below the noise that their latents are drawn with."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Final

from sdcli.catalog.schedulers.resolve import SchedulerConfig
from sdcli.catalog.schedulers.run_start import (
    begins_at_noise,
    late_start_warning,
    takes_trailing,
    trailing_hint,
)
from sdcli.engine.runtime.diffusers_internals import training_alphas
from sdcli.engine.schedulers.build import build_scheduler
from sdcli.engine.schedulers.noise_levels import timestep_sigmas
from sdcli.errors import UsageError

_LARGEST_DISTANCE: Final = 50
"""How many steps more or fewer to try for a hint."""


def describe_late_start(
    base: Any, choice: SchedulerConfig, scheduler: Any, steps: int, seeds: Sequence[int]
) -> tuple[str, ...]:
    """Return a warning if the run does not begin at noise, with the nearest setting that does.

    The latents are pure noise, whatever the first timestep is. A UNet that is told of less noise
    takes the rest for an image, and draws patches. `scheduler` is the one built for `choice`.
    """
    if _starts_at_noise(scheduler):
        return ()
    timestep, sigma = float(scheduler.timesteps[0]), timestep_sigmas(scheduler)[0]
    remedy = _find_remedy(base, choice, scheduler, steps, seeds)
    return (late_start_warning(type(scheduler).__name__, steps, timestep, sigma, remedy),)


def _starts_at_noise(scheduler: Any) -> bool:
    return begins_at_noise(timestep_sigmas(scheduler)[0], _trained_maximum(scheduler))


def _trained_maximum(scheduler: Any) -> float:
    alpha = float(training_alphas(scheduler)[-1])
    return math.sqrt((1 - alpha) / alpha) if alpha > 0 else math.inf


def _find_remedy(
    base: Any, choice: SchedulerConfig, scheduler: Any, steps: int, seeds: Sequence[int]
) -> str:
    options = dict(choice.config)
    class_name = type(scheduler).__name__
    if options.get("sigma_max") is not None:
        return "; leave sigma_max out"
    if takes_trailing(class_name, scheduler.config):
        trailing = {**options, "timestep_spacing": "trailing"}
        spaced = SchedulerConfig(class_name=class_name, config=tuple(sorted(trailing.items())))
        if _works(base, spaced, steps, seeds):
            return trailing_hint(class_name)
    for other in _nearest_steps(steps):
        if _works(base, choice, other, seeds):
            return f"; try --steps {other}"
    return ""


def _works(base: Any, choice: SchedulerConfig, steps: int, seeds: Sequence[int]) -> bool:
    try:
        return _starts_at_noise(build_scheduler(base, choice, steps=steps, seeds=seeds))
    except UsageError:
        return False


def _nearest_steps(steps: int) -> Iterator[int]:
    for distance in range(1, _LARGEST_DISTANCE):
        if steps > distance:
            yield steps - distance
        yield steps + distance
