"""The guidance interval with pooled embeddings and sizes, against loops written out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sdcli import engine
from tests.engine.xl.conftest import load
from tests.engine.xl.hand_calls import prompt_arguments, set_scheduler, size_arguments, xl_job

STEPS = 8


@torch.no_grad()
def loop_by_hand(
    base: Any, refiner: Any, folder: Path, job: Any, calls: tuple[int, int], encoders: int = 1
) -> Any:
    """Pixels of a loop over both models; `calls` are the UNet calls of each.

    A refiner with one text encoder takes an aesthetic score.
    """
    set_scheduler(base, folder, job)
    scheduler = base.scheduler
    generator = torch.Generator("cpu").manual_seed(job.seed)
    latents = torch.randn((1, 4, job.height // 8, job.width // 8), generator=generator)
    sizes = size_arguments(job)
    own = (job.height, job.width)
    original, target = sizes.get("original_size", own), sizes.get("target_size", own)
    crop = sizes.get("crops_coords_top_left", (0, 0))
    ids = [*original, *crop, *target]
    scored = [*original, 0, 0, 2.5], [*original, *crop, 6]
    second = (ids, ids) if encoders == 2 else scored
    parts = [
        (base, prompt_arguments(job), ids, ids),
        (refiner, prompt_arguments(job, encoders=encoders), *second),
    ]
    total, call = sum(calls), 0
    for (pipeline, prompts, negative_ids, positive_ids), count in zip(parts, calls, strict=True):
        scheduler.set_timesteps(STEPS)
        if call == 0:
            latents = latents * scheduler.init_noise_sigma
        if count == 0:
            continue
        positive, negative, pooled, negative_pooled = pipeline.encode_prompt(**prompts)
        for timestep in scheduler.timesteps[call : call + count]:
            guided = job.guidance_from * total <= call < job.guidance_to * total
            rows = [negative_ids, positive_ids] if guided else [positive_ids]
            conditions = {
                "text_embeds": torch.cat([negative_pooled, pooled]) if guided else pooled,
                "time_ids": torch.tensor(rows, dtype=torch.float32),
            }
            model_input = scheduler.scale_model_input(
                torch.cat([latents] * 2) if guided else latents, timestep
            )
            output = pipeline.unet(
                model_input,
                timestep,
                encoder_hidden_states=torch.cat([negative, positive]) if guided else positive,
                added_cond_kwargs=conditions,
                return_dict=False,
            )[0]
            if guided:
                without, conditional = output.chunk(2)
                output = without + job.guidance_scale * (conditional - without)
            latents = scheduler.step(output, timestep, latents, return_dict=False)[0]
            call += 1
    image = base.vae.decode(latents / base.vae.config.scaling_factor, return_dict=False)[0]
    pixels = base.image_processor.postprocess(image, output_type="np")[0]
    return (pixels * 255).round().astype(np.uint8)


@pytest.mark.sample(4)
@pytest.mark.parametrize("interval", [(0.0, 0.5), (0.4, 1.0), (0.25, 0.7), (0.0, 1.0), (0.8, 1.0)])
@pytest.mark.parametrize("with_refiner", [False, True])
def test_an_interval_equals_a_loop_written_out(
    xl: Any,
    xl_refined: Any,
    plain_xl: Any,
    plain_refiner: Any,
    base_folder: Path,
    interval: tuple[float, float],
    with_refiner: bool,
) -> None:
    refined = {"refiner_at": 0.5, "aesthetic_score": 6.0} if with_refiner else {}
    job = xl_job(
        "ddim", num_inference_steps=STEPS, negative_prompt="a dog", guidance_from=interval[0],
        guidance_to=interval[1], original_size="200x100", crop="8,16", **refined,
    )  # fmt: skip
    loaded = xl_refined if with_refiner else xl
    [result] = engine.generate_batch(loaded, [job])
    first = (result.run.refiner_call or STEPS + 1) - 1
    calls = (first, STEPS - first)
    theirs = loop_by_hand(plain_xl, plain_refiner, base_folder, job, calls)
    assert np.array_equal(result.pixels, theirs)


def test_a_batch_with_an_interval_is_close_to_its_images_alone(xl_refined: Any) -> None:
    jobs = [
        xl_job(
            index=i,
            seed=i,
            num_inference_steps=STEPS,
            negative_prompt="a dog",
            refiner_at=0.5,
            aesthetic_score=6.0,
            guidance_from=0.25,
            guidance_to=0.75,
            prompt=prompt,
        )
        for i, prompt in enumerate(("a cat", "a fish"))
    ]
    for job, result in zip(jobs, engine.generate_batch(xl_refined, jobs), strict=True):
        [alone] = engine.generate_batch(xl_refined, [job])
        assert np.abs(alone.pixels.astype(int) - result.pixels).max() <= 1


@pytest.mark.parametrize("interval", [(0.0, 1.0), (0.25, 0.7), (0.8, 1.0)])
def test_a_base_model_as_refiner_keeps_the_corner_in_its_negative_row(
    plain_xl: Any, base_folder: Path, interval: tuple[float, float]
) -> None:
    """Diffusers leaves it out for a refiner that takes an aesthetic score only."""
    job = xl_job(
        "ddim", num_inference_steps=STEPS, negative_prompt="a dog", guidance_from=interval[0],
        guidance_to=interval[1], original_size="200x100", crop="8,16", refiner_at=0.5,
    )  # fmt: skip
    [result] = engine.generate_batch(load(base_folder, refiner=str(base_folder)), [job])
    assert result.run.refiner_call == STEPS // 2 + 1
    calls = (STEPS // 2, STEPS // 2)
    theirs = loop_by_hand(plain_xl, plain_xl, base_folder, job, calls, encoders=2)
    assert np.array_equal(result.pixels, theirs)
