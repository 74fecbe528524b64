"""Pictures, masks and jobs that start from them, and the calls of Diffusers that they equal."""

from __future__ import annotations

from typing import Any

import diffusers
import numpy as np
import torch
from PIL import Image

from sdcli.input_images import InputPixels
from sdcli.job import Job
from tests.engine.xl.hand_calls import set_scheduler
from tests.jobs import make_job

SIDE = 64


def picture(seed: int = 3) -> np.ndarray:
    """A picture (64, 64, 3) of smooth colours."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def left_half() -> np.ndarray:
    """A mask (64, 64) of the left half."""
    mask = np.zeros((SIDE, SIDE), bool)
    mask[:, : SIDE // 2] = True
    return mask


def image_job(**changes: Any) -> Job:
    return make_job(**{"image": "in.png", "image_sha256": "ab" * 32, "strength": 0.75, **changes})


def mask_job(**changes: Any) -> Job:
    return image_job(**{"mask": "mask.png", "mask_sha256": "cd" * 32, **changes})


def inputs_of(job: Job) -> InputPixels:
    return InputPixels(image=picture(), mask=left_half() if job.mask else None)


def by_hand(plain: Any, job: Job, *, output_type: str = "pil", image: Any = None) -> Any:
    """What the call that a Diffusers user would write returns: a PIL image, or latents.

    An `image` takes the place of the job's own.
    """
    pipeline: Any = plain
    more: dict[str, Any] = {"height": job.height, "width": job.width}
    if job.mask:
        mask = Image.fromarray(left_half().astype(np.uint8) * 255)
        pipeline = _relative(diffusers.StableDiffusionInpaintPipeline, plain)
        more |= {"mask_image": mask}
    elif job.image or image is not None:
        pipeline, more = _relative(diffusers.StableDiffusionImg2ImgPipeline, plain), {}
    else:
        more |= {"guidance_rescale": job.guidance_rescale}
    if pipeline is not plain:
        more |= {"image": Image.fromarray(picture()) if image is None else image,
                 "strength": job.strength}  # fmt: skip
    set_scheduler(pipeline, plain.config._name_or_path, job)
    return pipeline(
        job.prompt,
        **more,
        negative_prompt=job.negative_prompt or None,
        num_inference_steps=job.num_inference_steps,
        guidance_scale=job.guidance_scale,
        eta=job.eta,
        clip_skip=job.clip_skip,
        generator=torch.Generator("cpu").manual_seed(job.seed),
        output_type=output_type,
    ).images[slice(None) if output_type == "latent" else 0]


def _relative(cls: Any, plain: Any) -> Any:
    """A pipeline of another class with the same components."""
    pipeline = cls(**plain.components, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
