"""A second pass equals two plain calls of Diffusers' pipelines, bit for bit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sdcli import engine
from sdcli.catalog.schedulers.resolve import SchedulerConfig
from sdcli.fields.hires import LATENT
from sdcli.job import Job
from sdcli.result import StepEvent
from tests.engine.input_jobs import SIDE, by_hand, image_job, inputs_of
from tests.jobs import make_job

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")

HIRES: dict[str, Any] = {"hires": "1.5x", "hires_strength": 0.5}


def both_by_hand(plain: Any, job: Job) -> Any:
    """The image of the two calls that a Diffusers user would write."""
    width, height = job.final_size
    if job.hires_upscaler == LATENT:
        latents = by_hand(plain, job, output_type="latent")
        size = (height // 8, width // 8)
        enlarged: Any = torch.nn.functional.interpolate(latents, size=size, mode="bilinear")
    else:
        enlarged = by_hand(plain, job).resize((width, height), Image.Resampling.LANCZOS)
    steps = job.hires_steps or job.num_inference_steps
    second = replace(job, strength=job.hires_strength, num_inference_steps=steps)
    return by_hand(plain, second, image=enlarged)


@pytest.mark.sample(4)
@pytest.mark.parametrize("make", [make_job, image_job], ids=["text", "image"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"hires_upscaler": "latent"},
        {"hires_upscaler": "latent", "hires": "128x128", "hires_steps": 7},
        {"hires_strength": 1.0},
        {"hires_steps": 2},
        {"guidance_scale": 1.0},
        {"negative_prompt": "a red background"},
        {"eta": 1.0},
        *(
            {"scheduler": SchedulerConfig(class_name=name), "num_inference_steps": 6}
            for name in (
                "DPMSolverMultistepScheduler",
                "EulerAncestralDiscreteScheduler",
                "HeunDiscreteScheduler",
            )
        ),
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_two_passes_equal_diffusers(
    loaded: Any, plain: Any, make: Any, changes: dict[str, Any]
) -> None:
    job = make(**{**HIRES, **changes})
    inputs = inputs_of(job) if job.image else None
    [result] = engine.generate_batch(loaded, [job], inputs=inputs)
    assert np.array_equal(result.pixels, both_by_hand(plain, job))


@pytest.mark.parametrize("upscaler", ["lanczos", "latent"])
def test_the_first_pass_stays_as_it_was(loaded: Any, upscaler: str) -> None:
    job = make_job(**HIRES, hires_upscaler=upscaler)
    [alone] = engine.generate_batch(loaded, [replace(job, hires=None)], save_latents="all")
    [both] = engine.generate_batch(loaded, [job], save_latents="all")
    assert both.pixels.shape == (96, 96, 3)
    assert alone.latents is not None
    assert both.latents is not None
    assert alone.latents.keys() == both.latents.keys()
    for name, tensor in alone.latents.items():
        assert np.array_equal(tensor, both.latents[name])
    assert both.run.timesteps == alone.run.timesteps
    assert both.run.second_pass is not None
    assert both.run.second_pass.timesteps == alone.run.timesteps[2:]


def test_each_image_of_a_batch_has_its_own_noise(loaded: Any) -> None:
    jobs = [make_job(**HIRES, index=i, seed=seed) for i, seed in enumerate((5, 6))]
    together = engine.generate_batch(loaded, jobs)
    for job, result in zip(jobs, together, strict=True):
        [alone] = engine.generate_batch(loaded, [job])
        # Equal but for the rounding of a larger matrix product.
        assert np.abs(alone.pixels.astype(int) - result.pixels.astype(int)).max() <= 1


def test_steps_are_counted_through_both_passes(loaded: Any) -> None:
    events: list[StepEvent] = []
    engine.generate_batch(loaded, [make_job(**HIRES)], on_step=events.append)
    assert [(event.step, event.steps) for event in events] == [(i, 6) for i in range(1, 7)]


def test_a_text_run_is_the_same_before_and_after(loaded: Any) -> None:
    [before] = engine.generate_batch(loaded, [make_job()])
    engine.generate_batch(loaded, [make_job(**HIRES)])
    [after] = engine.generate_batch(loaded, [make_job()])
    assert np.array_equal(before.pixels, after.pixels)
    assert before.pixels.shape == (SIDE, SIDE, 3)
