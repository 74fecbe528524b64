"""Divide a run between the model and its refiner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from sdcli.engine.denoise.size_conditioning import SizeConditioning
from sdcli.engine.loading.pipeline import LoadedPipeline
from sdcli.engine.loading.pipeline_classes import mode_of
from sdcli.engine.runtime.diffusers_internals import embeds_guidance
from sdcli.engine.text.conditioning import Conditioning, encode_prompts
from sdcli.errors import UsageError
from sdcli.job import Job


@dataclass(frozen=True, kw_only=True, eq=False)
class RunPart:
    """The UNet calls of a run that one pipeline makes.

    `first_call` is the number of calls before it. `all_calls` counts those of the whole run, None
    if this part is all of it. `sizes` are those that Stable Diffusion XL is told.
    """

    pipeline: Any
    conditioning: Conditioning
    first_call: int = 0
    all_calls: int | None = None
    sizes: SizeConditioning | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)


def plan_parts(loaded: LoadedPipeline, jobs: Sequence[Job], scheduler: Any) -> list[RunPart]:
    """Encode the prompts, and return the parts of the run: one, or two with a refiner.

    Raises UsageError if a part has no UNet call.
    """
    job, refiner = jobs[0], loaded.refiner
    pipeline = loaded.pipeline_for(mode_of(job))
    conditioning = encode_prompts(
        loaded.prompt_encoder, jobs, embeds_guidance=embeds_guidance(pipeline)
    )
    if conditioning.pooled_prompt_embeds is None:
        return [RunPart(pipeline=pipeline, conditioning=conditioning)]
    sizes = SizeConditioning.of(job)
    whole = RunPart(
        pipeline=pipeline, conditioning=conditioning, sizes=sizes, arguments=sizes.arguments()
    )
    if refiner is None or job.refiner_at is None:
        return [whole]
    refiner.pipeline.scheduler = scheduler
    first, second = count_calls(scheduler, job)
    refined = SizeConditioning.of(job, takes_aesthetic_score=refiner.takes_aesthetic_score)
    return [
        RunPart(
            pipeline=pipeline,
            conditioning=conditioning,
            all_calls=first + second,
            sizes=sizes,
            arguments={**sizes.arguments(), "denoising_end": job.refiner_at},
        ),
        RunPart(
            pipeline=refiner.pipeline,
            conditioning=encode_prompts(
                refiner.prompt_encoder, jobs, embeds_guidance=embeds_guidance(refiner.pipeline)
            ),
            first_call=first,
            all_calls=first + second,
            sizes=refined,
            arguments={**refined.arguments(), "denoising_start": job.refiner_at},
        ),
    ]


def count_calls(scheduler: Any, job: Job) -> tuple[int, int]:
    """Return the UNet calls of the base model and of the refiner. Raises UsageError if one is 0.

    As in Diffusers, a run is divided by the trained time, which not every scheduler spaces evenly.
    """
    assert job.refiner_at is not None
    trained = scheduler.config.num_train_timesteps
    cutoff = round(trained - job.refiner_at * trained)
    timesteps: torch.Tensor = scheduler.timesteps
    first = int((timesteps >= cutoff).sum())
    second = len(timesteps) - first
    if first and second:
        return first, second
    idle, change = ("refiner", "smaller") if first else ("base model", "larger")
    steps = f"{job.num_inference_steps} step{'' if job.num_inference_steps == 1 else 's'}"
    raise UsageError(
        f"refiner_at: with {steps} of {job.scheduler_label}, {job.refiner_at:g} leaves the {idle} "
        "no step",
        code="usage.refiner_at",
        hint=f"use a {change} --refiner-at, or more --steps",
    )
