"""Refuse schedules that no run could follow, before anything is drawn with them."""

from __future__ import annotations

import inspect
import warnings
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

import torch

from sdcli.catalog.schedulers.first_step import SCHEDULE_HINT
from sdcli.engine.runtime.diffusers_internals import (
    scheduler_sigmas,
    steps_in_pairs,
)
from sdcli.engine.schedulers.construct import construct
from sdcli.errors import UsageError

ERRORS_OF_CLASSES: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""Exceptions by which the scheduler classes reject, or fail on, a configuration."""


def check_schedule(scheduler: Any, steps: int, settings: bytes | None) -> None:
    """Raise UsageError if a run of `steps` steps would fail or end in NaN.

    The scheduler must have its timesteps set. It is not changed. `settings` construct
    one like it for a trial, None for no trial.
    """
    _check_trained_timesteps(scheduler, steps)
    fault = _find_order_fault(scheduler, steps)
    if not fault and settings is not None:
        cls: Any = type(scheduler)
        fault = _try_run(cls, settings, steps)
    if fault:
        raise UsageError(
            f"{type(scheduler).__name__} does not work with {steps} steps of this configuration: "
            f"{fault}",
            code="usage.scheduler",
            hint=SCHEDULE_HINT,
        )


def _check_trained_timesteps(scheduler: Any, steps: int) -> None:
    """Raise UsageError for more steps than the trained timesteps can tell apart."""
    num_train_timesteps = scheduler.config.num_train_timesteps
    levels = _step_levels(scheduler, steps)
    # Multistep solvers divide by the difference of two neighbouring noise levels.
    has_equal_steps = "solver_order" in scheduler.config and len(set(levels)) < len(levels)
    if has_equal_steps or float(max(scheduler.timesteps)) >= num_train_timesteps:
        raise UsageError(
            f"{type(scheduler).__name__} does not support {steps} steps with these options: "
            f"the model was trained on {num_train_timesteps} timesteps",
            code="usage.scheduler",
            hint=f"use at most {num_train_timesteps - 1} steps",
        )


def _step_levels(scheduler: Any, steps: int) -> list[float]:
    """Return the noise level at the start of each step; empty for classes that keep none."""
    levels = scheduler_sigmas(scheduler)
    if levels is None:
        return []
    # Schedulers of two UNet calls a step list each level twice, except for the first.
    stride = 2 if steps_in_pairs(scheduler) else 1
    return [float(level) for level in levels[: stride * steps : stride]]


def _find_order_fault(scheduler: Any, steps: int) -> str | None:
    timesteps = [float(timestep) for timestep in scheduler.timesteps]
    if not torch.isfinite(torch.tensor(timesteps)).all():
        return "it has timesteps that are not numbers"
    # The classes look up the first timestep to know where they are, and take its second place.
    if timesteps[0] in timesteps[1:]:
        return f"its first timestep, {timesteps[0]:g}, comes twice"
    levels = _step_levels(scheduler, steps)
    for i, (level, following) in enumerate(pairwise(levels), 1):
        if not level > following:
            return f"its noise level does not fall from step {i} to {i + 1}, but stays {level:.5g}"
    return None


# A run repeats the same few schedulers for all of its images.
@lru_cache(maxsize=64)
def _try_run(cls: Any, settings: bytes, steps: int) -> str | None:
    """Return why a run on random numbers fails, if it does."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            scheduler = construct(cls, settings)
            scheduler.set_timesteps(steps)
            latents = _run(scheduler)
        except ERRORS_OF_CLASSES as error:
            return f"{type(error).__name__} {error}".strip()
    return None if torch.isfinite(latents).all() else "it ends in values that are not numbers"


def _run(scheduler: Any) -> torch.Tensor:
    """Denoise random latents as if all of every model input were noise."""
    generator = torch.Generator("cpu").manual_seed(0)
    takes_generator = "generator" in inspect.signature(scheduler.step).parameters
    options = {"generator": generator} if takes_generator else {}
    latents: torch.Tensor = (
        torch.randn((1, 4, 2, 2), generator=generator) * scheduler.init_noise_sigma
    )
    for timestep in scheduler.timesteps:
        model_output = scheduler.scale_model_input(latents, timestep)
        latents = scheduler.step(model_output, timestep, latents, **options)[0]
    return latents
