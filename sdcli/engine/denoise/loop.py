"""Call the Diffusers pipeline to denoise a batch, with observers around its loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch

from sdcli.engine.denoise.injection import resuming_at
from sdcli.engine.denoise.pipeline_arguments import call_arguments, resize_batch
from sdcli.engine.denoise.starting_latents import starting_latents
from sdcli.engine.loading.pipeline import LoadedPipeline
from sdcli.engine.loading.pipeline_classes import mode_of
from sdcli.engine.recorders.latents import Recorder
from sdcli.engine.runtime.diffusers_internals import draw_noise, embeds_guidance, set_guidance_scale
from sdcli.engine.text.conditioning import Conditioning
from sdcli.input_images import InputPixels
from sdcli.job import Job
from sdcli.latents import ResumePoint
from sdcli.result import StepEvent

OnStep = Callable[[StepEvent], None]
"""Called after each scheduler step."""


class GuidanceInterval:
    """Turn classifier-free guidance on and off during a run.

    UNet call i of n, counted from 0, is guided if `guidance_from` <= i / n < `guidance_to`. The
    other calls do not compute the unconditional half of the batch. See Kynkäänniemi et al. 2024,
    "Applying Guidance in a Limited Interval".
    """

    def __init__(
        self, job: Job, conditioning: Conditioning, *, embeds_guidance: bool = False
    ) -> None:
        self._job = job
        self._embeds_guidance = embeds_guidance
        self._positive = conditioning.prompt_embeds
        self._negative = conditioning.negative_prompt_embeds

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of the pipeline that make its first UNet call guided, or not."""
        guided = self._is_guided(0, 1)
        # A UNet that takes the guidance scale as an input needs it without guidance, too.
        scale = self._job.guidance_scale if guided or self._embeds_guidance else 1.0
        return {
            "guidance_scale": scale,
            "prompt_embeds": self._positive,
            "negative_prompt_embeds": self._negative if guided else None,
        }

    def after_call(
        self, pipeline: Any, call: int, tensors: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Prepare the pipeline for the UNet call after `call`; return the tensors to replace.

        `tensors` are those of the pipeline's loop that it passed to its callback.
        """
        calls = pipeline.num_timesteps
        guided = self._is_guided(call + 1, calls)
        if call + 1 == calls or guided == self._is_guided(call, calls):
            return {}
        set_guidance_scale(pipeline, self._job.guidance_scale if guided else 1.0)
        # The pipeline concatenates the embeddings and masks only once, before its loop.
        parts = [self._negative, self._positive] if guided else [self._positive]
        images = len(self._positive)
        masks = {
            name: resize_batch(tensor, images, guided=guided)
            for name, tensor in tensors.items()
            if name != "latents"
        }
        return {"prompt_embeds": torch.cat([part for part in parts if part is not None]), **masks}

    def _is_guided(self, call: int, calls: int) -> bool:
        first, end = self._job.guidance_from * calls, self._job.guidance_to * calls
        return self._negative is not None and first <= call < end


def denoise(
    loaded: LoadedPipeline,
    jobs: Sequence[Job],
    conditioning: Conditioning,
    *,
    generators: list[torch.Generator],
    recorders: Sequence[Recorder],
    on_step: OnStep | None,
    start: ResumePoint | None,
    inputs: InputPixels | None = None,
) -> torch.Tensor:
    """Run the pipeline's own denoising loop, with everything random drawn from `generators`.

    There is one of them for each image. Returns the last latents (batch, 4, height/8, width/8). The
    loop resumes at `start`, if given, and begins with the image in `inputs` instead of with noise.
    """
    pipeline = loaded.pipeline_for(mode_of(jobs[0]))
    initial = _initial_latents(loaded, jobs, conditioning, None if inputs else generators)
    guidance = GuidanceInterval(jobs[0], conditioning, embeds_guidance=embeds_guidance(pipeline))

    def observe(latents: torch.Tensor) -> None:
        for recorder in recorders:
            recorder.on_step(0, latents)

    with ExitStack() as stack:
        for recorder in recorders:
            stack.enter_context(recorder)
        if not inputs:
            observe(initial)
        if start:
            # Entered last, so that recorders see the model inputs and outputs that it substitutes.
            initial = stack.enter_context(resuming_at(pipeline, initial, start, jobs[0]))
        if inputs:
            stack.enter_context(starting_latents(pipeline, initial if start else None, observe))
        output = pipeline(
            **call_arguments(jobs, initial, inputs),
            **guidance.arguments(),
            generator=generators,
            output_type="latent",
            callback_on_step_end=_step_callback(jobs, guidance, recorders, on_step),
        )
    latents: torch.Tensor = output.images
    return latents


def _initial_latents(
    loaded: LoadedPipeline,
    jobs: Sequence[Job],
    conditioning: Conditioning,
    generators: list[torch.Generator] | None,
) -> torch.Tensor:
    """Return noise, or without generators zeros, of the shape of the latents."""
    channels, scale = loaded.latent_shape
    shape = len(jobs), channels, jobs[0].height // scale, jobs[0].width // scale
    dtype = conditioning.prompt_embeds.dtype
    if generators is None:
        return torch.zeros(shape, device=loaded.device, dtype=dtype)
    return draw_noise(shape, generators, loaded.device, dtype)


def _step_callback(
    jobs: Sequence[Job],
    guidance: GuidanceInterval,
    recorders: Sequence[Recorder],
    on_step: OnStep | None,
) -> Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]]:
    """Return a `callback_on_step_end` that passes each step on to the recorders and `on_step`."""
    indices = tuple(job.index for job in jobs)

    def callback(
        pipeline: Any, step_index: int, timestep: Any, tensors: dict[str, Any]
    ) -> dict[str, Any]:
        step = step_index + 1
        for recorder in recorders:
            recorder.on_step(step, tensors["latents"])
        if on_step:
            # `num_timesteps` counts UNet calls: 7 for Heun with 4 inference steps.
            steps, time = pipeline.num_timesteps, float(timestep)
            on_step(StepEvent(job_indices=indices, step=step, steps=steps, timestep=time))
        return guidance.after_call(pipeline, step_index, tensors)

    return callback
