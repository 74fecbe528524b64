"""Runs from an image equal the plain calls of Diffusers' pipelines, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel

from sdcli import engine
from sdcli.catalog.schedulers.resolve import SchedulerConfig
from sdcli.job import Job
from sdcli.pipeline_spec import PipelineSpec
from tests.engine.input_jobs import by_hand, image_job, inputs_of, mask_job
from tests.inpainting_model import make_inpainting_model
from tests.jobs import make_job

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")

CHANGES: list[dict[str, Any]] = [
    {},
    {"strength": 1.0},
    {"strength": 0.25},
    {"guidance_scale": 1.0},
    {"negative_prompt": "a red background"},
    {"eta": 1.0},
    *(
        {"scheduler": SchedulerConfig(class_name=name), "num_inference_steps": 6}
        for name in (
            "DPMSolverMultistepScheduler",
            "EulerDiscreteScheduler",
            "EulerAncestralDiscreteScheduler",
            "HeunDiscreteScheduler",
            "KDPM2AncestralDiscreteScheduler",
            "DDPMScheduler",
            "UniPCMultistepScheduler",
        )
    ),
]


@pytest.mark.sample(4)
@pytest.mark.parametrize("make", [image_job, mask_job], ids=["image", "mask"])
@pytest.mark.parametrize("changes", CHANGES, ids=lambda changes: str(changes)[:60])
def test_a_run_from_an_image_equals_diffusers(
    loaded: Any, plain: Any, make: Any, changes: dict[str, Any]
) -> None:
    job = make(**changes)
    [result] = engine.generate_batch(loaded, [job], inputs=inputs_of(job))
    assert np.array_equal(result.pixels, by_hand(plain, job))


@pytest.fixture(scope="module")
def inpainting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_inpainting_model(tmp_path_factory.mktemp("inpainting"))


@pytest.mark.parametrize("guidance", [3.0, 1.0])
def test_a_unet_of_nine_channels_equals_diffusers(inpainting: Path, guidance: float) -> None:
    spec = PipelineSpec(model=str(inpainting), device="cpu", dtype="float32")
    job = mask_job(spec=spec, guidance_scale=guidance)
    [result] = engine.generate_batch(engine.load(spec), [job], inputs=inputs_of(job))
    unet = UNet2DConditionModel.from_pretrained(inpainting / "unet", dtype=torch.float32)
    plain = StableDiffusionPipeline.from_pretrained(
        inpainting, unet=unet, dtype=torch.float32, safety_checker=None
    )
    assert np.array_equal(result.pixels, by_hand(plain, job))


@pytest.fixture
def text_result(loaded: Any) -> Iterator[np.ndarray]:
    """What a prompt alone draws: the same before and after the other pipelines have run."""
    [before] = engine.generate_batch(loaded, [make_job()])
    yield before.pixels
    [after] = engine.generate_batch(loaded, [make_job()])
    assert np.array_equal(before.pixels, after.pixels)


@pytest.mark.parametrize("make", [image_job, mask_job], ids=["image", "mask"])
def test_the_pipelines_share_all_components_but_the_scheduler(
    loaded: Any, text_result: np.ndarray, make: Any
) -> None:
    job = make()
    [result] = engine.generate_batch(loaded, [job], inputs=inputs_of(job))
    assert not np.array_equal(result.pixels, text_result)
    relative = loaded.pipeline_for("inpaint" if job.mask else "image")
    for name in ("unet", "vae", "text_encoder", "tokenizer"):
        assert getattr(relative, name) is getattr(loaded.pipeline, name)
    assert relative.scheduler is not loaded.pipeline.scheduler


@pytest.mark.sample(2)
@pytest.mark.parametrize("make", [image_job, mask_job], ids=["image", "mask"])
@pytest.mark.parametrize("interval", [(0.0, 1.0), (0.0, 0.5), (0.5, 1.0)])
def test_each_image_of_a_batch_has_its_own_generator(
    loaded: Any, make: Any, interval: tuple[float, float]
) -> None:
    options = {"guidance_from": interval[0], "guidance_to": interval[1]}
    jobs: list[Job] = [make(index=i, seed=seed, **options) for i, seed in enumerate((5, 6))]
    together = engine.generate_batch(loaded, jobs, inputs=inputs_of(jobs[0]))
    for job, result in zip(jobs, together, strict=True):
        [alone] = engine.generate_batch(loaded, [job], inputs=inputs_of(job))
        # Equal but for the rounding of a larger matrix product.
        gap = np.abs(alone.pixels.astype(int) - result.pixels.astype(int))
        assert gap.max() <= 1
    assert not np.array_equal(together[0].pixels, together[1].pixels)
