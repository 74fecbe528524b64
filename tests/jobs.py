"""Jobs and results to test with, made without torch."""

from __future__ import annotations

from typing import Any

import numpy as np

from sdcli.catalog.schedulers.resolve import SchedulerConfig
from sdcli.job import Job
from sdcli.request import PipelineSpec
from sdcli.result import GenerationResult

CPU = PipelineSpec(device="cpu", dtype="float32")


def make_job(**changes: Any) -> Job:
    """A quick job: 4 steps at 64 x 64 by DDIM, which keeps nothing from step to step."""
    job = {
        "index": 0,
        "prompt": "a cat and a guitar on a blue background",
        "negative_prompt": "",
        "spec": CPU,
        "scheduler": SchedulerConfig(class_name="DDIMScheduler"),
        "scheduler_label": "DDIMScheduler",
        "num_inference_steps": 4,
        "guidance_scale": 3.0,
        "guidance_rescale": 0.0,
        "eta": 0.0,
        "clip_skip": None,
        "width": 64,
        "height": 64,
        "seed": 7,
    }
    return Job(**{**job, **changes})


def make_result(**changes: Any) -> GenerationResult:
    """A result of `make_job` with pixels drawn from its seed; job fields go to the job."""
    own = {
        key: changes.pop(key) for key in list(changes) if key in GenerationResult.__annotations__
    }
    job = make_job(**changes)
    noise = np.random.default_rng(job.seed)
    pixels = noise.integers(0, 256, (job.height, job.width, 3), dtype=np.uint8)
    facts: dict[str, Any] = {
        "job": job,
        "pixels": pixels,
        "timesteps": (751.0, 501.0, 251.0, 1.0),
        "sigmas": None,
        "scheduler_class": "DDIMScheduler",
        "scheduler_config": {"prediction_type": "v_prediction", "trained_betas": None},
        "batch_size": 1,
        "dtype": "float32",
        "device": "cpu",
        "weights": {"unet": "ab" * 32, "vae": "cd" * 32},
    }
    return GenerationResult(**{**facts, **own})
