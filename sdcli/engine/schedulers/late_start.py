"""Make schedulers start in the middle of their schedule, as runs from an image do.

Diffusers skips the first steps and leaves the rest to the scheduler. Two multistep classes then
count on a history that they do not have, and ruin the image.
"""

from __future__ import annotations

from functools import wraps
from typing import Any

import torch
from diffusers import LMSDiscreteScheduler, PNDMScheduler

from sdcli.engine.runtime.diffusers_internals import lms_history, steps_in_pairs
from sdcli.errors import UsageError
from sdcli.job import Job


def skipped_calls(scheduler: Any, job: Job) -> int:
    """Return how many of the scheduler's timesteps Diffusers skips in a run from an image."""
    skipped_steps = job.num_inference_steps - job.denoising_steps
    return skipped_steps * (2 if steps_in_pairs(scheduler) else 1)


def start_late(scheduler: Any, job: Job) -> None:
    """Prepare a scheduler, which has its timesteps, for a run that skips the first of them.

    Raises UsageError for a class that cannot start there.
    """
    skipped = skipped_calls(scheduler, job)
    if not skipped:
        return
    if isinstance(scheduler, LMSDiscreteScheduler):
        _limit_order(scheduler)
    elif isinstance(scheduler, PNDMScheduler):
        _repeat_second_timestep(scheduler, skipped)


def _limit_order(scheduler: Any) -> None:
    """Let LMS take no more of its history than there is.

    It goes by the number of the step, and computes coefficients for four outputs when it has one.
    """
    original = scheduler.step

    @wraps(original)
    def step(
        model_output: Any, timestep: Any, sample: Any, order: int = 4, return_dict: bool = True
    ) -> Any:
        available = min(order, len(lms_history(scheduler)) + 1)
        return original(model_output, timestep, sample, order=available, return_dict=return_dict)

    scheduler.step = step


def _repeat_second_timestep(scheduler: Any, skipped: int) -> None:
    """Move the timestep that PNDM takes twice to the second place of the run.

    Its second call corrects the first step, whatever its timestep. Without the repetition the
    latents stay one step noisier than the UNet is told, to the end.
    """
    if not scheduler.config.skip_prk_steps:
        raise UsageError(
            "strength: PNDM with Runge-Kutta steps (skip_prk_steps=false) cannot start from an "
            "image",
            code="usage.strength",
            hint="use --strength 1, or another --scheduler",
        )
    original = scheduler.set_timesteps

    @wraps(original)
    def set_timesteps(*args: Any, **kwargs: Any) -> None:
        original(*args, **kwargs)
        scheduler.timesteps = _moved(scheduler.timesteps, skipped)

    # The pipeline sets the timesteps again when it runs.
    scheduler.set_timesteps = set_timesteps
    scheduler.timesteps = _moved(scheduler.timesteps, skipped)


def _moved(timesteps: torch.Tensor, skipped: int) -> torch.Tensor:
    single = torch.cat([timesteps[:1], timesteps[2:]])
    again = single[skipped + 1 : skipped + 2]
    return torch.cat([single[: skipped + 1], again, single[skipped + 1 :]])
