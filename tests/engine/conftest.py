"""The embedded model, loaded once for all engine tests, and plain Diffusers beside it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sdcli.catalog.schedulers import SchedulerChoice
from sdcli.engine.fetch import EMBEDDED_FOLDER
from sdcli.plan import Job
from sdcli.request import PipelineSpec

CPU = PipelineSpec(device="cpu", dtype="float32")


def make_job(**changes: Any) -> Job:
    """A quick job: 4 steps at 64 x 64 with the model's own scheduler."""
    job = {
        "index": 0,
        "prompt": "a cat and a guitar on a blue background",
        "negative_prompt": "",
        "spec": CPU,
        "scheduler": SchedulerChoice(),
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


@pytest.fixture(scope="session")
def loaded() -> Any:
    from sdcli import engine

    return engine.load(CPU)


@pytest.fixture(scope="session")
def plain() -> Any:
    """The same model as anyone would load it."""
    import torch
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(
        EMBEDDED_FOLDER, dtype=torch.float32, safety_checker=None, requires_safety_checker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture
def model_copy(tmp_path: Path) -> Callable[[], Path]:
    """A copy of the embedded model to break."""

    def copy() -> Path:
        return Path(shutil.copytree(EMBEDDED_FOLDER, tmp_path / "model"))

    return copy
