"""Runs of XL models from images, with masks and with a second pass, against Diffusers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from sdcli import engine
from sdcli.checkpoints.model_defaults import read_defaults
from sdcli.checkpoints.refiner import fetch_defaults
from sdcli.errors import UsageError
from sdcli.input_images import InputImage
from sdcli.job import Job
from sdcli.planning.resolve import resolve_jobs
from sdcli.request import GenerationRequest
from tests.engine.input_jobs import inputs_of, left_half, picture
from tests.engine.xl.conftest import load
from tests.engine.xl.hand_calls import (
    call_by_hand,
    draw_by_hand,
    prompt_arguments,
    set_scheduler,
    size_arguments,
    xl_job,
)
from tests.xl_models import write_xl_model

IMAGE = {"image": "in.png", "image_sha256": "ab" * 32, "strength": 0.75}
MASK = {**IMAGE, "mask": "mask.png", "mask_sha256": "cd" * 32}


def from_image_by_hand(plain: Any, folder: Path, job: Job, image: Any = None) -> np.ndarray:
    """The pixels of the plain call of an XL model's image or inpainting pipeline."""
    cls: Any = diffusers.StableDiffusionXLImg2ImgPipeline
    more: dict[str, Any] = {}
    if job.mask:
        cls = diffusers.StableDiffusionXLInpaintPipeline
        mask = Image.fromarray(left_half().astype(np.uint8) * 255)
        more = {"mask_image": mask, "height": job.height, "width": job.width}
    zeroes = plain.config.force_zeros_for_empty_prompt
    pipeline = cls(**plain.components, force_zeros_for_empty_prompt=zeroes, add_watermarker=False)
    pipeline.set_progress_bar_config(disable=True)
    set_scheduler(pipeline, folder, job)
    result = pipeline(
        **prompt_arguments(job),
        **size_arguments(job),
        **more,
        image=Image.fromarray(picture()) if image is None else image,
        strength=job.strength,
        num_inference_steps=job.num_inference_steps,
        guidance_scale=job.guidance_scale,
        guidance_rescale=job.guidance_rescale,
        eta=job.eta,
        clip_skip=job.clip_skip,
        generator=torch.Generator("cpu").manual_seed(job.seed),
    )
    return np.asarray(result.images[0])


@pytest.mark.sample(3)
@pytest.mark.parametrize("inputs", [IMAGE, MASK], ids=["image", "mask"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"strength": 1.0},
        {"guidance_scale": 1.0},
        {"negative_prompt": "a red background", "prompt_2": "a fish"},
        {"empty_negative": True},
        {"clip_skip": 1},
        {"guidance_rescale": 0.7},
        {"original_size": "640x480", "crop": "8,24", "target_size": "512x256"},
        {"scheduler": "DPM++ 2M Karras"},
        {"scheduler": "Euler a"},
        {"scheduler": "Heun"},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())) or "plain",
)
def test_a_run_from_an_image_equals_diffusers(
    xl: Any, plain_xl: Any, base_folder: Path, inputs: dict[str, Any], changes: dict[str, Any]
) -> None:
    job = xl_job(**{**inputs, **changes})
    [result] = engine.generate_batch(xl, [job], inputs=inputs_of(job))
    assert np.array_equal(result.pixels, from_image_by_hand(plain_xl, base_folder, job))


@pytest.mark.sample(1)
@pytest.mark.parametrize("guidance", [5.0, 1.0])
def test_a_unet_of_nine_channels_equals_diffusers(tmp_path: Path, guidance: float) -> None:
    folder = write_xl_model(tmp_path / "inpainting", unet={"in_channels": 9})
    plain = diffusers.StableDiffusionXLPipeline.from_pretrained(folder, dtype=torch.float32)
    job = xl_job(**MASK, guidance_scale=guidance)
    [result] = engine.generate_batch(load(folder), [job], inputs=inputs_of(job))
    assert np.array_equal(result.pixels, from_image_by_hand(plain, folder, job))
    with pytest.raises(UsageError, match="is an inpainting model"):
        list(resolve_jobs(GenerationRequest(prompt="a"), read_defaults(folder), 0))


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    "changes",
    [{}, {"original_size": "640x480"}, {"guidance_rescale": 0.7}],
    ids=["own", "told", "rescaled"],
)
@pytest.mark.parametrize("upscaler", ["lanczos", "latent"])
def test_a_second_pass_equals_diffusers(
    xl: Any, plain_xl: Any, base_folder: Path, upscaler: str, changes: dict[str, Any]
) -> None:
    job = xl_job(hires="1.5x", hires_strength=0.5, hires_upscaler=upscaler, **changes)
    [result] = engine.generate_batch(xl, [job])
    second = job.second_pass()
    assert second is not None
    if upscaler == "lanczos":
        first = Image.fromarray(draw_by_hand(plain_xl, base_folder, job))
        enlarged: Any = first.resize(job.final_size, Image.Resampling.LANCZOS)
    else:
        latents = call_by_hand(plain_xl, base_folder, job, "latent")
        enlarged = torch.nn.functional.interpolate(latents, size=(12, 12), mode="bilinear")
    theirs = from_image_by_hand(plain_xl, base_folder, second, enlarged)
    assert np.array_equal(result.pixels, theirs)


@pytest.mark.parametrize("fields", [{"image": "in.png"}, {"hires": "2x"}], ids=str)
def test_a_refiner_is_refused_with_the_reason(
    base_folder: Path, refiner_folder: Path, fields: dict[str, Any]
) -> None:
    data = {"prompt": "a", "model": str(base_folder), "refiner": str(refiner_folder), **fields}
    request = GenerationRequest.from_dict(data)

    def read(path: str) -> InputImage:
        return InputImage(path=path, sha256="ab" * 32, width=64, height=64)

    with pytest.raises(UsageError, match="not supported together with --"):
        list(resolve_jobs(request, fetch_defaults(request.spec), 0, read_image=read))
