"""Call the Diffusers pipeline to denoise a batch, with observers around its loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch

from sdcli.engine.denoise.injection import resuming_at
from sdcli.engine.loading.pipeline import LoadedPipeline
from sdcli.engine.recorders.latents import Recorder
from sdcli.engine.runtime.diffusers_internals import draw_noise
from sdcli.engine.text.conditioning import Conditioning
from sdcli.job import Job
from sdcli.latents import ResumePoint
from sdcli.result import StepEvent

OnStep = Callable[[StepEvent], None]
"""Called after each scheduler step."""


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
    with ExitStack() as stack:
        for recorder in recorders:
            stack.enter_context(recorder)
            recorder.on_step(0, noise)
        if start:
            # Entered last, so that recorders see the model inputs and outputs that it substitutes.
            noise = stack.enter_context(resuming_at(loaded.pipeline, noise, start))
        output = loaded.pipeline(
            **_pipeline_arguments(jobs[0], conditioning),
            generator=generators,
            latents=noise,
            output_type="latent",
            callback_on_step_end=_step_callback(jobs, recorders, on_step),
        )
    latents: torch.Tensor = output.images
    return latents


def _latents_shape(pipeline: Any, jobs: Sequence[Job]) -> tuple[int, int, int, int]:
    scale = pipeline.vae_scale_factor
    channels = pipeline.unet.config.in_channels
    return len(jobs), channels, jobs[0].height // scale, jobs[0].width // scale


def _pipeline_arguments(job: Job, conditioning: Conditioning) -> dict[str, Any]:
    """Return the arguments of the pipeline call that all jobs of a batch share."""
    return {
        "prompt_embeds": conditioning.prompt_embeds,
        "negative_prompt_embeds": conditioning.negative_prompt_embeds,
        "height": job.height,
        "width": job.width,
        "num_inference_steps": job.num_inference_steps,
        "guidance_scale": job.guidance_scale,
        "guidance_rescale": job.guidance_rescale,
        "eta": job.eta,
    }


def _step_callback(
    jobs: Sequence[Job], recorders: Sequence[Recorder], on_step: OnStep | None
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
        # The pipeline reads replacements from the dictionary, and fails on None.
        return {}

    return callback
