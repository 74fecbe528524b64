"""The guidance interval, against a denoising loop written out with Diffusers' parts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from sdcli import engine
from sdcli.catalog.schedulers.resolve import resolve_scheduler
from sdcli.job import Job
from tests.jobs import make_job

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")

PROMPT, NEGATIVE, STEPS = "a cat and a guitar", "a dog", 6


def job_of(scheduler: str, **changes: Any) -> Job:
    resolved = resolve_scheduler(scheduler)
    facts = {
        "prompt": PROMPT, "negative_prompt": NEGATIVE, "num_inference_steps": STEPS,
        "scheduler": resolved.choice, "scheduler_label": resolved.label,
    }  # fmt: skip
    return make_job(**{**facts, **changes})


@contextmanager
def counted_rows(unet: Any) -> Iterator[list[int]]:
    """The batch size of every UNet call."""
    rows: list[int] = []
    hook = unet.register_forward_pre_hook(lambda module, args: rows.append(args[0].shape[0]))
    try:
        yield rows
    finally:
        hook.remove()


@torch.no_grad()
def plain_loop(plain: Any, job: Job, start: float, end: float) -> np.ndarray:
    """Pixels (height, width, 3) of the loop that a Diffusers user would write."""
    # From the folder: other tests give the pipeline their own schedulers.
    file = diffusers.DPMSolverMultistepScheduler.load_config(
        plain.config._name_or_path, subfolder="scheduler"
    )
    scheduler_class = getattr(diffusers, str(job.scheduler.class_name))
    scheduler = scheduler_class.from_config(file, **dict(job.scheduler.config))
    plain.scheduler = scheduler  # for `prepare_extra_step_kwargs`
    scheduler.set_timesteps(job.num_inference_steps)
    positive, negative = plain.encode_prompt(
        job.prompt, "cpu", 1, True, negative_prompt=job.negative_prompt
    )
    generator = torch.Generator("cpu").manual_seed(job.seed)
    latents = torch.randn((1, 4, job.height // 8, job.width // 8), generator=generator)
    latents = latents * scheduler.init_noise_sigma
    extra = plain.prepare_extra_step_kwargs(generator, job.eta)
    calls = len(scheduler.timesteps)
    for call, timestep in enumerate(scheduler.timesteps):
        guided = start * calls <= call < end * calls
        model_input = torch.cat([latents] * 2) if guided else latents
        model_input = scheduler.scale_model_input(model_input, timestep)
        embeds = torch.cat([negative, positive]) if guided else positive
        output = plain.unet(model_input, timestep, encoder_hidden_states=embeds, return_dict=False)[
            0
        ]
        if guided:
            without, conditional = output.chunk(2)
            output = without + job.guidance_scale * (conditional - without)
        latents = scheduler.step(output, timestep, latents, **extra, return_dict=False)[0]
    image = plain.vae.decode(latents / plain.vae.config.scaling_factor, return_dict=False)[0]
    pixels: np.ndarray = plain.image_processor.postprocess(image, output_type="np")[0]
    return (pixels * 255).round().astype(np.uint8)


@pytest.mark.sample(3)
@pytest.mark.parametrize("interval", [(0.0, 0.5), (0.4, 1.0), (0.25, 0.75), (0.0, 1.0)])
@pytest.mark.parametrize("scheduler", ["ddim", "euler a", "heun", "dpm++ 2m karras", "unipc"])
def test_an_interval_equals_a_loop_written_out(
    loaded: Any, plain: Any, scheduler: str, interval: tuple[float, float]
) -> None:
    start, end = interval
    job = job_of(scheduler, guidance_from=start, guidance_to=end)
    [result] = engine.generate_batch(loaded, [job])
    assert np.array_equal(result.pixels, plain_loop(plain, job, start, end))


def test_outside_of_the_interval_the_unet_is_asked_for_one_half(loaded: Any) -> None:
    with counted_rows(loaded.pipeline.unet) as rows:
        engine.generate_batch(loaded, [job_of("ddim", guidance_from=0.3, guidance_to=0.7)])
    assert rows == [1, 1, 2, 2, 2, 1]
    with counted_rows(loaded.pipeline.unet) as rows:
        engine.generate_batch(loaded, [job_of("ddim")])
    assert rows == [2] * STEPS


def test_the_next_run_is_guided_as_ever(loaded: Any) -> None:
    [before] = engine.generate_batch(loaded, [job_of("ddim")])
    engine.generate_batch(loaded, [job_of("ddim", guidance_to=0.5)])
    [after] = engine.generate_batch(loaded, [job_of("ddim")])
    assert np.array_equal(before.pixels, after.pixels)


def test_a_batch_with_an_interval_is_close_to_its_images_alone(loaded: Any) -> None:
    jobs = [job_of("euler", seed=seed, index=seed, guidance_to=0.5) for seed in (1, 2)]
    together = engine.generate_batch(loaded, jobs)
    for job, result in zip(jobs, together, strict=True):
        [alone] = engine.generate_batch(loaded, [job])
        assert np.abs(alone.pixels.astype(int) - result.pixels).max() <= 1


def test_latents_of_an_interval_do_not_change_its_image(loaded: Any) -> None:
    job = job_of("ddim", guidance_from=0.25, guidance_to=0.75)
    [plain_result] = engine.generate_batch(loaded, [job])
    [recorded] = engine.generate_batch(loaded, [job], save_latents="all")
    assert np.array_equal(plain_result.pixels, recorded.pixels)
