"""Resume a run in the middle, inside the pipeline's own loop.

The loop always begins at its first step. If the UNet outputs of the earlier steps are known, they
are passed to the scheduler and the UNet is not called: the scheduler's history, its random numbers
and the latents become exactly what they were, whatever state its class keeps. Otherwise the earlier
steps are skipped, and the latents are inserted at the step where the run resumes.
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
from sdcli.engine.runtime.diffusers_internals import set_begin_index, steps_in_pairs
from sdcli.engine.schedulers.late_start import skipped_calls
from sdcli.engine.schedulers.noise_levels import timestep_sigmas
from sdcli.errors import UsageError
from sdcli.job import Job
from sdcli.latents import ResumePoint


@contextmanager
def resuming_at(
    pipelines: Sequence[Any], noise: torch.Tensor, start: ResumePoint, job: Job
) -> Iterator[torch.Tensor]:
    """Make the pipelines resume `job` at `start` in the `with` block.

    They share a scheduler, and continue each other: steps are counted across them. Yields the
    latents (1, 4, height/8, width/8) to call the first one with, instead of `noise`. Raises
    UsageError if no step has the noise level of the start.
    """
    template, scheduler = noise, pipelines[0].scheduler
    if start.noise is not None:
        noise = _to_tensor(start.noise, template)
    with ExitStack() as stack:
        if start.latents is None:
            outputs = [_to_tensor(output, template) for output in start.outputs]
            patch: _ReplayOutputs | _SkipToStep = _ReplayOutputs(outputs)
        else:
            patch = _SkipToStep(scheduler, start, template, job)
            noise = patch.initial_latents
            stack.enter_context(
                patch_method(scheduler, "scale_model_input", patch.scale_model_input)
            )
        for pipeline in pipelines:
            stack.enter_context(patch_method(pipeline.unet, "forward", patch.forward))
        stack.enter_context(patch_method(scheduler, "step", patch.step))
        yield noise


class _ReplayOutputs:
    """Give recorded UNet outputs to the scheduler, and call the UNet when they are used up."""

    def __init__(self, outputs: list[torch.Tensor]) -> None:
        self._outputs = outputs
        self._steps = 0

    def forward(self, original: Any, sample: Any, *args: Any, **kwargs: Any) -> Any:
        if self._steps < len(self._outputs):
            # The recorded outputs include guidance, which the pipeline would apply to this result;
            # `step` therefore replaces them afterwards.
            return (torch.zeros_like(sample),)
        return original(sample, *args, **kwargs)

    def step(
        self, original: Any, model_output: Any, timestep: Any, sample: Any, **kwargs: Any
    ) -> Any:
        if self._steps < len(self._outputs):
            model_output = match_layout(self._outputs[self._steps], sample)
        self._steps += 1
        return original(model_output, timestep, sample, **kwargs)


class _SkipToStep:
    """Skip the steps before the resume point, and insert its latents there."""

    def __init__(
        self, scheduler: Any, start: ResumePoint, template: torch.Tensor, job: Job
    ) -> None:
        self._scheduler = scheduler
        self._steps = 0
        # Steps that a run from an image never has: its first one has this number.
        self._offset = skipped_calls(scheduler, job)
        if start.step is None:
            self._first, self._latents = _latents_at_nearest_step(
                scheduler, start, template, self._offset
            )
        else:
            self._first = start.step
            self._latents = _to_tensor(start.latents, template)
        # A pipeline that takes noise multiplies it by init_noise_sigma. That only matters if no
        # step is skipped: otherwise the last skipped step returns the latents.
        factor = 1.0 if job.image else scheduler.init_noise_sigma
        self.initial_latents = (self._latents / factor).to(template)

    def forward(self, original: Any, sample: Any, *args: Any, **kwargs: Any) -> Any:
        if self._steps < self._first:
            return (torch.zeros_like(sample),)
        return original(sample, *args, **kwargs)

    def scale_model_input(self, original: Any, sample: Any, *args: Any, **kwargs: Any) -> Any:
        # The original would initialise the scheduler's step counter, at a step that is skipped.
        if self._steps < self._first:
            return sample
        return original(sample, *args, **kwargs)

    def step(
        self, original: Any, model_output: Any, timestep: Any, sample: Any, **kwargs: Any
    ) -> Any:
        self._steps += 1
        if self._steps > self._first:
            return original(model_output, timestep, sample, **kwargs)
        if self._steps == self._first:
            set_begin_index(self._scheduler, self._offset + self._first)
        return (match_layout(self._latents, sample),)


def _latents_at_nearest_step(
    scheduler: Any, start: ResumePoint, template: torch.Tensor, offset: int
) -> tuple[int, torch.Tensor]:
    """Return the step nearest in noise level, and the start's latents scaled as it expects them.

    Steps count from 0 at the first that runs, which is `offset` in the scheduler's own count.
    """
    sigmas = timestep_sigmas(scheduler)[offset:]
    step = nearest_step(sigmas, start.sigma, pairs=steps_in_pairs(scheduler))
    model_input = _move_to_sigma(start, sigmas[step], template)
    # The inverse of scale_model_input: the model's input back to the scheduler's own scale.
    scale = float(scale_model_input_at(scheduler, torch.ones(1), offset + step))
    return step, model_input / scale


def nearest_step(sigmas: Sequence[float], sigma: float, *, pairs: bool = False) -> int:
    """Return the step whose noise level is nearest to `sigma`, on a logarithmic scale.

    With `pairs`, only the first UNet call of each pair counts, since the second one needs it.
    """
    steps = range(0, len(sigmas), 2 if pairs else 1)
    return min(steps, key=lambda step: abs(math.log(sigmas[step] / sigma)))


def scale_model_input_at(scheduler: Any, latents: torch.Tensor, step: int) -> torch.Tensor:
    """Return the latents as the UNet receives them at a step, without changing the scheduler."""
    probe = copy(scheduler)
    set_begin_index(probe, step)
    # The class's function: the instance's method may be patched, and bound to the original.
    model_input: torch.Tensor = type(scheduler).scale_model_input(
        probe, latents, scheduler.timesteps[step]
    )
    return model_input


def _move_to_sigma(start: ResumePoint, sigma: float, template: torch.Tensor) -> torch.Tensor:
    """Return the start's latents, of variance 1, at another noise level.

    They move in a straight line along their predicted noise, as in a step of Euler's method.
    """
    latents = _to_tensor(start.latents, template)
    # Schedulers round their noise levels differently, to float32 or by integer timesteps.
    if abs(sigma - start.sigma) <= 1e-4 * start.sigma:
        return latents
    if start.direction is None:
        raise UsageError(
            f"no step has the noise level {start.sigma:.4g} of these latents",
            code="latents.level",
            hint="also save x0: with it, the latents can be moved to the nearest step",
        )
    # The line is straight in variance-exploding latents, x = x_0 + sigma ε.
    exploding = latents * math.hypot(1, start.sigma)
    moved = exploding + (sigma - start.sigma) * _to_tensor(start.direction, template)
    return moved / math.hypot(1, sigma)


def match_layout(tensor: torch.Tensor, template: torch.Tensor) -> torch.Tensor:
    """Return a copy of the tensor in the memory order of another one of its shape.

    Latents that a VAE has encoded may be in channels-last order, in which the UNet rounds
    differently.
    """
    return torch.empty_like(template, dtype=tensor.dtype).copy_(tensor)


def _to_tensor(array: NDArray[Any] | None, template: torch.Tensor) -> torch.Tensor:
    """Return (1, 4, height/8, width/8) on the device and in the dtype of `template`."""
    # np.array copies: torch warns about arrays that are read-only, as those of a mapped file are.
    return torch.from_numpy(np.array(array))[None].to(template)
