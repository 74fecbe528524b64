"""Call the Diffusers pipeline to denoise a batch, with observers around its loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch

from sdcli.engine.denoise.injection import resuming_at
from sdcli.engine.loading.pipeline import LoadedPipeline
from sdcli.engine.recorders.latents import Recorder
from sdcli.engine.runtime.diffusers_internals import draw_noise, embeds_guidance, set_guidance_scale
from sdcli.engine.text.conditioning import Conditioning
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

    def after_call(self, pipeline: Any, call: int) -> dict[str, torch.Tensor]:
        """Prepare the pipeline for the UNet call after `call`; return the tensors to replace."""
        calls = pipeline.num_timesteps
        guided = self._is_guided(call + 1, calls)
        if call + 1 == calls or guided == self._is_guided(call, calls):
            return {}
        set_guidance_scale(pipeline, self._job.guidance_scale if guided else 1.0)
        # The pipeline concatenates the embeddings only once, before its loop.
        parts = [self._negative, self._positive] if guided else [self._positive]
        return {"prompt_embeds": torch.cat([part for part in parts if part is not None])}

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
) -> torch.Tensor:
    """Run the pipeline's own denoising loop on noise drawn from `generators`, one per image.

    Returns the last latents (batch, 4, height/8, width/8). The loop resumes at `start`, if given.
    """
    noise = draw_noise(
        _latents_shape(loaded.pipeline, jobs),
        generators,
        loaded.device,
        conditioning.prompt_embeds.dtype,
    )
    guidance = GuidanceInterval(
        jobs[0], conditioning, embeds_guidance=embeds_guidance(loaded.pipeline)
    )
    with ExitStack() as stack:
        for recorder in recorders:
            stack.enter_context(recorder)
            recorder.on_step(0, noise)
        if start:
            # Entered last, so that recorders see the model inputs and outputs that it substitutes.
            noise = stack.enter_context(resuming_at(loaded.pipeline, noise, start))
        output = loaded.pipeline(
            **_pipeline_arguments(jobs[0]),
            **guidance.arguments(),
            generator=generators,
            latents=noise,
            output_type="latent",
            callback_on_step_end=_step_callback(jobs, guidance, recorders, on_step),
        )
    latents: torch.Tensor = output.images
    return latents


def _latents_shape(pipeline: Any, jobs: Sequence[Job]) -> tuple[int, int, int, int]:
    scale = pipeline.vae_scale_factor
    channels = pipeline.unet.config.in_channels
    return len(jobs), channels, jobs[0].height // scale, jobs[0].width // scale


def _pipeline_arguments(job: Job) -> dict[str, Any]:
    """Return the arguments of the pipeline call that all jobs of a batch share."""
    return {
        "height": job.height,
        "width": job.width,
        "num_inference_steps": job.num_inference_steps,
        "guidance_rescale": job.guidance_rescale,
        "eta": job.eta,
    }


def _step_callback(
    jobs: Sequence[Job],
    guidance: GuidanceInterval,
    recorders: Sequence[Recorder],
    on_step: OnStep | None,
) -> Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]]:
    """Return a `callback_on_step_end` that passes each step on to the recorders and `on_step`."""
    indices, rows = tuple(job.index for job in jobs), tuple(job.row for job in jobs)

    def callback(
        pipeline: Any, step_index: int, timestep: Any, tensors: dict[str, Any]
    ) -> dict[str, Any]:
        step = step_index + 1
        for recorder in recorders:
            recorder.on_step(step, tensors["latents"])
        if on_step:
            # `num_timesteps` counts UNet calls: 7 for Heun with 4 inference steps.
            steps, time = pipeline.num_timesteps, float(timestep)
            event = StepEvent(job_indices=indices, rows=rows, step=step, steps=steps, timestep=time)
            on_step(event)
        return guidance.after_call(pipeline, step_index)

    return callback
