"""Divide a run between the model and its refiner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from sdcli.engine.denoise.size_conditioning import SizeConditioning
from sdcli.engine.loading.pipeline import LoadedPipeline
from sdcli.engine.loading.pipeline_classes import mode_of
from sdcli.engine.runtime.diffusers_internals import embeds_guidance
from sdcli.engine.text.conditioning import Conditioning, encode_prompts
from sdcli.engine.text.encoder import JobEncoder
from sdcli.errors import UsageError
from sdcli.job import Job


@dataclass(frozen=True, kw_only=True, eq=False)
class RunPart:
    """The UNet calls of a run that one pipeline makes.

    `conditioning` is that of the first of the run's `steps`, and `later_conditioning` has those
    that replace it, by the first step that each is for, counted from 1. `first_call` is the number
    of calls before this part. `all_calls` counts those of the whole run, None if this part is all
    of it. `sizes` are those that Stable Diffusion XL is told.
    """

    pipeline: Any
    conditioning: Conditioning
    later_conditioning: Mapping[int, Conditioning] = field(default_factory=dict)
    steps: int = 1
    first_call: int = 0
    all_calls: int | None = None
    sizes: SizeConditioning | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def conditioning_at(self, call: int, calls: int) -> Conditioning:
        """Return the conditioning of a UNet call, of so many in the whole run, counted from 0."""
        # Heun and its relatives call the UNet twice a step, PNDM once more at the start.
        step = call * self.steps // calls + 1
        later = [c for first, c in self.later_conditioning.items() if first <= step]
        return later[-1] if later else self.conditioning


def plan_parts(loaded: LoadedPipeline, jobs: Sequence[Job], scheduler: Any) -> list[RunPart]:
    """Encode the prompts, and return the parts of the run: one, or two with a refiner.

    Raises UsageError if a part has no UNet call.
    """
    job, refiner = jobs[0], loaded.refiner
    pipeline = loaded.pipeline_for(mode_of(job))
    whole = _part(loaded, pipeline, loaded.prompt_encoder, jobs)
    if whole.conditioning.pooled_prompt_embeds is None:
        return [whole]
    sizes = SizeConditioning.of(job)
    whole = replace(whole, sizes=sizes, arguments=sizes.arguments())
    if refiner is None or job.refiner_at is None:
        return [whole]
    refiner.pipeline.scheduler = scheduler
    first, second = count_calls(scheduler, job)
    refined = SizeConditioning.of(job, takes_aesthetic_score=refiner.takes_aesthetic_score)
    return [
        replace(
            whole,
            all_calls=first + second,
            arguments={**sizes.arguments(), "denoising_end": job.refiner_at},
        ),
        replace(
            _part(loaded, refiner.pipeline, refiner.prompt_encoder, jobs),
            first_call=first,
            all_calls=first + second,
            sizes=refined,
            arguments={**refined.arguments(), "denoising_start": job.refiner_at},
        ),
    ]


def _part(
    loaded: LoadedPipeline, pipeline: Any, encoder: JobEncoder, jobs: Sequence[Job]
) -> RunPart:
    """Return all of a run, with its prompts encoded."""
    later = encode_prompts(encoder, jobs, embeds_guidance=embeds_guidance(pipeline))
    # The text encoders make room for the UNet.
    loaded.placement.rest()
    return RunPart(
        pipeline=pipeline,
        conditioning=later.pop(1),
        later_conditioning=later,
        steps=max(1, jobs[0].denoising_steps),
    )


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
