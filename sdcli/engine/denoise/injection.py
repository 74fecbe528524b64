"""Going on in the middle of a run, inside the pipeline's own loop and without a word of its state.

The loop runs from its first step. Where the UNet's outputs are known they are given to the
scheduler instead of asking the UNet, so that history, random numbers and latents become what they
were, to the bit, whatever the class keeps of them. Where they are not, those steps are skipped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sdcli.engine.recorders.patching import patch_method
from sdcli.engine.schedulers.noise_levels import timestep_sigmas
from sdcli.errors import UsageError
from sdcli.latents import ResumePoint


@contextmanager
def resuming_at(pipeline: Any, noise: torch.Tensor, start: ResumePoint) -> Iterator[torch.Tensor]:
    """Within, the pipeline begins where `start` says; the noise (1, 4, h/8, w/8) to give it.

    Raises UsageError when the scheduler has no step there.
    """
    like = noise
    if start.noise is not None:
        noise = _tensor(start.noise, like)
    with ExitStack() as stack:
        if start.latents is None:
            walk: _ReplayOutputs | _SkipToStep = _ReplayOutputs(
                [_tensor(o, like) for o in start.outputs]
            )
        else:
            walk = _SkipToStep(pipeline.scheduler, start, like)
            noise = walk.noise
            stack.enter_context(patch_method(pipeline.scheduler, "scale_model_input", walk.scale))
        stack.enter_context(patch_method(pipeline.unet, "forward", walk.forward))
        stack.enter_context(patch_method(pipeline.scheduler, "step", walk.step))
        yield noise


class _ReplayOutputs:
    """Gives recorded outputs to the scheduler; the UNet is asked when they are used up."""

    def __init__(self, outputs: list[torch.Tensor]) -> None:
        self._outputs = outputs
        self._steps = 0

    def forward(self, original: Any, sample: Any, *args: Any, **kwargs: Any) -> Any:
        if self._steps < len(self._outputs):
            return (torch.zeros_like(sample),)
        return original(sample, *args, **kwargs)

    def step(self, original: Any, model_output: Any, *args: Any, **kwargs: Any) -> Any:
        if self._steps < len(self._outputs):
            model_output = self._outputs[self._steps]
        self._steps += 1
        return original(model_output, *args, **kwargs)


class _SkipToStep:
    """Lets the steps before go by, and puts the latents in at the one nearest in noise."""

    def __init__(self, scheduler: Any, start: ResumePoint, like: torch.Tensor) -> None:
        self._scheduler = scheduler
        if start.step is None:
            levels = timestep_sigmas(scheduler)
            self._first = nearest_step(levels, start.sigma, pairs=scheduler.order == 2)
            scale = _input_scale(scheduler, self._first)
            self._latents = _to_device(start, levels[self._first], like) / scale
        else:
            self._first = start.step
            self._latents = _tensor(start.latents, like)
        self._steps = 0
        # The pipeline scales what it is given, which matters when no step is skipped.
        self.noise = (self._latents / scheduler.init_noise_sigma).to(like)

    def forward(self, original: Any, sample: Any, *args: Any, **kwargs: Any) -> Any:
        if self._steps < self._first:
            return (torch.zeros_like(sample),)
        return original(sample, *args, **kwargs)

    def scale(self, original: Any, sample: Any, *args: Any, **kwargs: Any) -> Any:
        if self._steps < self._first:
            return sample
        return original(sample, *args, **kwargs)

    def step(self, original: Any, model_output: Any, *args: Any, **kwargs: Any) -> Any:
        self._steps += 1
        if self._steps > self._first:
            return original(model_output, *args, **kwargs)
        if self._steps == self._first and hasattr(self._scheduler, "set_begin_index"):
            self._scheduler.set_begin_index(self._first)
        return (self._latents,)


def nearest_step(levels: Sequence[float], sigma: float, *, pairs: bool = False) -> int:
    """The step whose noise level is nearest; where steps come in pairs, the first of one."""
    steps = range(0, len(levels), 2 if pairs else 1)
    return min(steps, key=lambda i: abs(math.log(levels[i] / sigma)))


def scale_model_input_at(scheduler: Any, latents: torch.Tensor, step: int) -> torch.Tensor:
    """The latents as the UNet sees them at that step, the scheduler left as it is."""
    probe = copy(scheduler)
    if hasattr(probe, "set_begin_index"):
        probe.set_begin_index(step)
    seen: torch.Tensor = type(scheduler).scale_model_input(
        probe, latents, scheduler.timesteps[step]
    )
    return seen


def _input_scale(scheduler: Any, step: int) -> float:
    return float(scale_model_input_at(scheduler, torch.ones(1), step))


def _to_device(start: ResumePoint, sigma: float, like: torch.Tensor) -> torch.Tensor:
    """The start's latents at another noise level, by a straight step along their direction."""
    latents = _tensor(start.latents, like)
    if abs(sigma - start.sigma) <= 1e-4 * start.sigma:
        return latents
    if start.direction is None:
        raise UsageError(
            f"no step has the noise level {start.sigma:.4g} of these latents",
            code="latents.level",
            hint="dump x0, too: with it they can be moved to the nearest",
        )
    exploded = latents * math.hypot(1, start.sigma)
    moved = exploded + (sigma - start.sigma) * _tensor(start.direction, like)
    return moved / math.hypot(1, sigma)


def _tensor(array: NDArray[Any] | None, like: torch.Tensor) -> torch.Tensor:
    """(1, 4, height/8, width/8), on the device and in the dtype of `like`."""
    return torch.from_numpy(np.array(array))[None].to(like)
