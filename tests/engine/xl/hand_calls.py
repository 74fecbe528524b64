"""The calls of Diffusers' pipelines that a user would write for a job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch

from sdcli.catalog.schedulers.resolve import resolve_scheduler
from sdcli.fields.xl import parse_pair
from sdcli.job import Job
from tests.jobs import make_job


def xl_job(scheduler: str = "EulerDiscreteScheduler", **changes: Any) -> Job:
    """A quick job for an XL model, by a scheduler's name."""
    resolved = resolve_scheduler(scheduler)
    own = {"scheduler": resolved.choice, "scheduler_label": resolved.label, "guidance_scale": 5.0}
    return make_job(**{**own, **changes})


def set_scheduler(pipeline: Any, folder: Path | str, job: Job) -> None:
    """Give the pipeline the scheduler of a job, built from the model's file."""
    cls = getattr(diffusers, str(job.scheduler.class_name))
    config = cls.load_config(folder, subfolder="scheduler")
    # This class does not use the generator.
    seeded = {"noise_sampler_seed": job.seed} if cls is diffusers.DPMSolverSDEScheduler else {}
    pipeline.scheduler = cls.from_config(config, **dict(job.scheduler.config), **seeded)


def prompt_arguments(job: Job, *, encoders: int = 2) -> dict[str, Any]:
    """Return the prompts, with None for what was left out."""
    second = {"prompt_2": job.prompt_2, "negative_prompt_2": job.negative_prompt_2}
    negative = job.negative_prompt or ("" if job.empty_negative else None)
    return {"prompt": job.prompt, "negative_prompt": negative} | (second if encoders > 1 else {})


def size_arguments(job: Job) -> dict[str, Any]:
    """Return the sizes, (height, width), and the corner, (top, left), that the job has."""
    names = {
        "original_size": "original_size", "crop": "crops_coords_top_left",
        "target_size": "target_size",
    }  # fmt: skip
    return {
        name: parse_pair(text)[::-1]
        for field, name in names.items()
        if (text := getattr(job, field)) is not None
    }


def run_settings(job: Job) -> dict[str, Any]:
    return {
        "num_inference_steps": job.num_inference_steps,
        "guidance_scale": job.guidance_scale,
        "guidance_rescale": job.guidance_rescale,
        "eta": job.eta,
        "clip_skip": job.clip_skip,
    }


def draw_by_hand(pipeline: Any, folder: Path, job: Job) -> np.ndarray:
    """Pixels (height, width, 3) of the plain call."""
    return np.asarray(call_by_hand(pipeline, folder, job, "pil")[0])


def call_by_hand(pipeline: Any, folder: Path, job: Job, output_type: str) -> Any:
    """What the plain call returns: PIL images, or latents."""
    set_scheduler(pipeline, folder, job)
    return pipeline(
        **prompt_arguments(job),
        **size_arguments(job),
        **run_settings(job),
        height=job.height,
        width=job.width,
        generator=torch.Generator("cpu").manual_seed(job.seed),
        output_type=output_type,
    ).images


def refine_by_hand(base: Any, refiner: Any, folder: Path, job: Job) -> np.ndarray:
    """Pixels of the two calls that Diffusers' guide to ensembles of experts shows."""
    set_scheduler(base, folder, job)
    set_scheduler(refiner, folder, job)
    generator = torch.Generator("cpu").manual_seed(job.seed)
    latents = base(
        **prompt_arguments(job),
        **size_arguments(job),
        **run_settings(job),
        height=job.height,
        width=job.width,
        generator=generator,
        denoising_end=job.refiner_at,
        output_type="latent",
    ).images
    own_vae, refiner.vae = refiner.vae, base.vae
    score = {} if job.aesthetic_score is None else {"aesthetic_score": job.aesthetic_score}
    try:
        image = refiner(
            **prompt_arguments(job, encoders=1),
            **size_arguments(job),
            **run_settings(job),
            **score,
            image=latents,
            generator=generator,
            denoising_start=job.refiner_at,
        ).images[0]
    finally:
        refiner.vae = own_vae
    return np.asarray(image)
