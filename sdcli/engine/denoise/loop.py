"""Call the Diffusers pipeline to denoise a batch, with observers around its loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch

from sdcli.engine.adapters.feature_cache import cached_features
from sdcli.engine.adapters.kept_guidance import kept_guidance
from sdcli.engine.adapters.perturbed_attention import perturbed_attention
from sdcli.engine.denoise.combination import combined_prompts
from sdcli.engine.denoise.control import Control, controlled
from sdcli.engine.denoise.guidance_interval import GuidanceInterval
from sdcli.engine.denoise.injection import resuming_at
from sdcli.engine.denoise.pipeline_arguments import BatchInputs, call_arguments
from sdcli.engine.denoise.run_part import RunPart
from sdcli.engine.denoise.starting_latents import starting_latents
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
    inputs: BatchInputs | None = None,
    controls: Sequence[Control] = (),
) -> torch.Tensor:
    """Run the pipeline's own denoising loop, with everything random drawn from `generators`.

    There is one of them for each image. Returns the last latents (batch, 4, height/8, width/8). The
    loop resumes at `start`, if given, and begins with the images in `inputs` instead of with noise.
    With two parts, the second pipeline continues; `controls` guide the first one only.
    """
    dtype = parts[0].conditioning.prompt_embeds.dtype
    latents = _initial_latents(loaded, jobs, dtype, None if inputs else generators)
    pipelines = [part.pipeline for part in parts]

    def observe(latents: torch.Tensor) -> None:
        for recorder in recorders:
            recorder.on_step(0, latents)

    with ExitStack() as stack:
        for recorder in recorders:
            stack.enter_context(recorder)
        guidances = [GuidanceInterval(jobs[0], part) for part in parts]
        stack.enter_context(controlled(pipelines[0].unet, controls, guidances[0].position))
        for guidance, part in zip(guidances, parts, strict=True):
            _change_unet(stack, part, guidance, jobs)
        if not inputs:
            observe(latents)
        if start:
            # Entered last, so that recorders see the model inputs and outputs that it substitutes.
            latents = stack.enter_context(resuming_at(pipelines, latents, start, jobs[0]))
        if inputs:
            stack.enter_context(starting_latents(pipelines[0], latents if start else None, observe))
        for guidance, part in zip(guidances, parts, strict=True):
            latents = part.pipeline(
                **call_arguments(jobs, part, latents, inputs),
                **guidance.arguments(),
                generator=generators,
                output_type="latent",
                callback_on_step_end=_step_callback(jobs, part, guidance, recorders, on_step),
            ).images
    return latents


def _change_unet(
    stack: ExitStack, part: RunPart, guidance: GuidanceInterval, jobs: Sequence[Job]
) -> None:
    """Make the UNet of a part do what its jobs need beyond Diffusers, until the stack ends."""
    unet, job = part.pipeline.unet, jobs[0]
    # The pipelines of Stable Diffusion have no rescale from an image, those of XL have.
    rescale = job.guidance_rescale if job.image is None or part.sizes else 0.0
    scheduler, images = part.pipeline.scheduler, len(jobs)
    perturbed = perturbed_attention(
        unet, scheduler, job.pag_scale, images, rescale, guidance.is_guided
    )
    stack.enter_context(perturbed)
    if job.guidance_every > 1:
        stack.enter_context(kept_guidance(unet, images, guidance.keeps_difference))
    every, rows = job.feature_cache, guidance.computed_rows
    stack.enter_context(cached_features(unet, every, guidance.position, rows))
    if part.conditioning.components:
        stack.enter_context(combined_prompts(unet, guidance.get_conditioning))


def _initial_latents(
    loaded: LoadedPipeline,
    jobs: Sequence[Job],
    dtype: torch.dtype,
    generators: list[torch.Generator] | None,
) -> torch.Tensor:
    """Return noise, or without generators zeros, of the shape of the latents."""
    channels, scale = loaded.latent_shape
    shape = len(jobs), channels, jobs[0].height // scale, jobs[0].width // scale
    if generators is None:
        return torch.zeros(shape, device=loaded.device, dtype=dtype)
    return draw_noise(shape, generators, loaded.device, dtype)


def _step_callback(
    jobs: Sequence[Job],
    part: RunPart,
    guidance: GuidanceInterval,
    recorders: Sequence[Recorder],
    on_step: OnStep | None,
) -> Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]]:
    """Return a `callback_on_step_end` that passes each step on to the recorders and `on_step`."""
    indices, rows = tuple(job.index for job in jobs), tuple(job.row for job in jobs)

    def callback(
        pipeline: Any, step_index: int, timestep: Any, tensors: dict[str, Any]
    ) -> dict[str, Any]:
        step = part.first_call + step_index + 1
        for recorder in recorders:
            recorder.on_step(step, tensors["latents"])
        if on_step:
            # `num_timesteps` counts UNet calls: 7 for Heun with 4 inference steps.
            steps, time = part.all_calls or pipeline.num_timesteps, float(timestep)
            event = StepEvent(job_indices=indices, rows=rows, step=step, steps=steps, timestep=time)
            on_step(event)
        return guidance.after_call(pipeline, step_index, tensors)

    return callback
