"""Jobs and results to test with, made without torch."""

from __future__ import annotations

from typing import Any

import numpy as np

from sdcli.catalog.schedulers.resolve import SchedulerConfig
from sdcli.job import Job
from sdcli.pipeline_spec import PipelineSpec
from sdcli.result import GenerationResult, RunInfo

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


def make_run(**changes: Any) -> RunInfo:
    """What is known of a run of `make_job`; job fields go to the job."""
    own = {key: changes.pop(key) for key in list(changes) if key in RunInfo.__annotations__}
    facts: dict[str, Any] = {
        "timesteps": (751.0, 501.0, 251.0, 1.0),
        "sigmas": None,
        "scheduler_class": "DDIMScheduler",
        "scheduler_config": {"prediction_type": "v_prediction", "trained_betas": None},
        "init_noise_sigma": 1.0,
        "batch_size": 1,
        "dtype": "float32",
        "device": "cpu",
    }
    return RunInfo(**{"job": make_job(**changes), **facts, **own})


def make_result(**changes: Any) -> GenerationResult:
    """A result of `make_run` with pixels from its seed; other fields go to the run and the job."""
    own = {
        key: changes.pop(key) for key in list(changes) if key in GenerationResult.__annotations__
    }
    run = own.pop("run", None) or make_run(**changes)
    noise = np.random.default_rng(run.job.seed)
    pixels = noise.integers(0, 256, (run.job.height, run.job.width, 3), dtype=np.uint8)
    facts: dict[str, Any] = {
        "run": run,
        "pixels": pixels,
        "weights": {"unet": "ab" * 32, "vae": "cd" * 32},
    }
    return GenerationResult(**{**facts, **own})
