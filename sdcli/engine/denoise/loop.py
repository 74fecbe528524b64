"""Call the Diffusers pipeline to denoise a batch, with observers around its loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch

from sdcli.engine.denoise.guidance_interval import GuidanceInterval
from sdcli.engine.denoise.injection import resuming_at
from sdcli.engine.denoise.run_part import RunPart
from sdcli.engine.loading.pipeline import LoadedPipeline
from sdcli.engine.recorders.latents import Recorder
from sdcli.engine.runtime.diffusers_internals import draw_noise
from sdcli.job import Job
from sdcli.latents import ResumePoint
from sdcli.result import StepEvent

OnStep = Callable[[StepEvent], None]
"""Called after each scheduler step."""


def denoise(
    loaded: LoadedPipeline,
    jobs: Sequence[Job],
    parts: Sequence[RunPart],
    *,
    generators: list[torch.Generator],
    recorders: Sequence[Recorder],
    on_step: OnStep | None,
    start: ResumePoint | None,
) -> torch.Tensor:
    """Run the pipeline's own denoising loop on noise drawn from `generators`, one per image.

    Returns the last latents (batch, 4, height/8, width/8). The loop resumes at `start`, if given.
    With two parts, the second pipeline continues with the latents of the first.
    """
    latents = draw_noise(
        _latents_shape(loaded.pipeline, jobs),
        generators,
        loaded.device,
        parts[0].conditioning.prompt_embeds.dtype,
    )
    with ExitStack() as stack:
        for recorder in recorders:
            stack.enter_context(recorder)
            recorder.on_step(0, latents)
        if start:
            # Entered last, so that recorders see the model inputs and outputs that it substitutes.
            latents = stack.enter_context(resuming_at(loaded.pipeline, latents, start))
        for part in parts:
            guidance = GuidanceInterval(jobs[0], part)
            latents = part.pipeline(
                **_pipeline_arguments(jobs[0], part, latents),
                **guidance.arguments(),
                generator=generators,
                output_type="latent",
                callback_on_step_end=_step_callback(jobs, part, guidance, recorders, on_step),
            ).images
    return latents


def _latents_shape(pipeline: Any, jobs: Sequence[Job]) -> tuple[int, int, int, int]:
    scale = pipeline.vae_scale_factor
    channels = pipeline.unet.config.in_channels
    return len(jobs), channels, jobs[0].height // scale, jobs[0].width // scale


def _pipeline_arguments(job: Job, part: RunPart, latents: torch.Tensor) -> dict[str, Any]:
    """Return the arguments of the pipeline call that all jobs of a batch share."""
    shared = {
        "num_inference_steps": job.num_inference_steps,
        "guidance_rescale": job.guidance_rescale,
        "eta": job.eta,
        **part.arguments,
    }
    if part.first_call:
        return shared | {"image": latents}
    return shared | {"height": job.height, "width": job.width, "latents": latents}


def _step_callback(
    jobs: Sequence[Job],
    part: RunPart,
    guidance: GuidanceInterval,
    recorders: Sequence[Recorder],
    on_step: OnStep | None,
) -> Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]]:
    """Return a `callback_on_step_end` that passes each step on to the recorders and `on_step`."""
    indices = tuple(job.index for job in jobs)

    def callback(
        pipeline: Any, step_index: int, timestep: Any, tensors: dict[str, Any]
    ) -> dict[str, Any]:
        step = part.first_call + step_index + 1
        for recorder in recorders:
            recorder.on_step(step, tensors["latents"])
        if on_step:
            # `num_timesteps` counts UNet calls: 7 for Heun with 4 inference steps.
            steps, time = part.all_calls or pipeline.num_timesteps, float(timestep)
            on_step(StepEvent(job_indices=indices, step=step, steps=steps, timestep=time))
        return guidance.after_call(pipeline, step_index)

    return callback
