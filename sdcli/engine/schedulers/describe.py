"""Describe a built scheduler: its timesteps, noise levels and configuration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, Final

import diffusers

from sdcli.catalog.schedulers.resolve import SchedulerConfig
from sdcli.engine.runtime.diffusers_internals import (
    final_alpha,
    midpoint_sigmas,
    scheduler_sigmas,
    training_alphas,
    visible_config,
)
from sdcli.engine.schedulers.build import build_scheduler

_STABLE_DIFFUSION_CONFIG: Final[Mapping[str, object]] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "clip_sample": False,
}
"""The scheduler configuration of Stable Diffusion 1."""

_CLASSES_ENDING_AT_ZERO: Final = (
    diffusers.DDPMScheduler,
    diffusers.DDPMParallelScheduler,
    diffusers.LCMScheduler,
)
"""Classes without sigmas whose last step returns the predicted clean latents."""


def timesteps(scheduler: Any) -> tuple[float, ...]:
    """Return the trained time of each UNet call, first to last."""
    return tuple(float(t) for t in scheduler.timesteps)


def run_sigmas(scheduler: Any, skipped: int) -> tuple[float, ...] | None:
    """Return the noise level of each step of a run and of its end; None for classes without any.

    The run leaves out the first `skipped` of the scheduler's timesteps.
    """
    levels = scheduler_sigmas(scheduler)
    return None if levels is None else tuple(float(sigma) for sigma in levels[skipped:])


def public_config(scheduler: Any) -> dict[str, object]:
    """Return the scheduler's configuration as JSON data, without Diffusers' hidden entries."""
    return {key: _to_json(value) for key, value in visible_config(scheduler.config).items()}


def _to_json(value: object) -> object:
    if hasattr(value, "tolist"):  # a torch or numpy array or number
        return value.tolist()
    if isinstance(value, list | tuple):
        return [_to_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        # lambda_min_clipped is -inf by default, and JSON has no infinity.
        return str(value)
    return value


def timestep_table(
    choice: SchedulerConfig, steps: int, model: Mapping[str, object] | None = None
) -> tuple[list[tuple[float, float]], float]:
    """Return (timestep, sigma) of each UNet call, and the sigma of the latents after the last.

    Sigma is √((1-ᾱ)/ᾱ). `model` is the model's scheduler file, by default that of Stable
    Diffusion 1. Raises UsageError like `build_scheduler`.
    """
    base = SimpleNamespace(config=_STABLE_DIFFUSION_CONFIG if model is None else model)
    scheduler = build_scheduler(base, choice, steps=steps, seeds=[0], try_run=False)
    rows = [(float(t), _call_sigma(scheduler, i)) for i, t in enumerate(scheduler.timesteps)]
    return rows, _last_sigma(scheduler)


def _call_sigma(scheduler: Any, call: int) -> float:
    """Return the noise level of a UNet call."""
    midpoints, levels = midpoint_sigmas(scheduler), scheduler_sigmas(scheduler)
    if midpoints is not None and call % 2:
        # The ancestral class stores each midpoint one place earlier than the other.
        is_ancestral = isinstance(scheduler, diffusers.KDPM2AncestralDiscreteScheduler)
        return float(midpoints[call - 1 if is_ancestral else call])
    if levels is not None:
        return float(levels[call])
    return _to_sigma(training_alphas(scheduler)[int(scheduler.timesteps[call])])


def _last_sigma(scheduler: Any) -> float:
    levels = scheduler_sigmas(scheduler)
    if levels is not None:
        return float(levels[-1])
    if isinstance(scheduler, _CLASSES_ENDING_AT_ZERO):
        return 0.0
    if isinstance(scheduler, diffusers.TCDScheduler):
        # TCD has a final_alpha_cumprod, but its last step goes to timestep 0.
        return _to_sigma(training_alphas(scheduler)[0])
    return _to_sigma(final_alpha(scheduler))


def _to_sigma(alpha: Any) -> float:
    return float(((1 - alpha) / alpha) ** 0.5)
