"""Pictures, masks and jobs that start from them, and the same call by hand in Diffusers."""

from __future__ import annotations

from typing import Any

import diffusers
import numpy as np
import torch
from PIL import Image

from sdcli.input_images import InputPixels
from sdcli.job import Job
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


def set_scheduler(pipeline: Any, job: Job, plain: Any = None) -> None:
    """Give a pipeline the scheduler of a job, from the configuration of the model's own."""
    scheduler_class = getattr(diffusers, str(job.scheduler.class_name))
    pristine = (plain or pipeline).components["scheduler"].config
    pipeline.scheduler = scheduler_class.from_config(pristine, **dict(job.scheduler.config))


def by_hand(plain: Any, job: Job, output_type: str | None = None) -> Any:
    """The pixels (height, width, 3) of the call that a Diffusers user would write.

    With an `output_type`, the images as the pipeline returns them.
    """
    cls: Any = diffusers.StableDiffusionImg2ImgPipeline
    more: dict[str, Any] = {}
    if job.mask:
        cls = diffusers.StableDiffusionInpaintPipeline
        mask = Image.fromarray(left_half().astype(np.uint8) * 255)
        more = {"mask_image": mask, "height": job.height, "width": job.width}
    pipeline = cls(**plain.components, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    set_scheduler(pipeline, job, plain)
    images = pipeline(
        job.prompt,
        image=Image.fromarray(picture()),
        strength=job.strength,
        negative_prompt=job.negative_prompt or None,
        num_inference_steps=job.num_inference_steps,
        guidance_scale=job.guidance_scale,
        eta=job.eta,
        generator=torch.Generator("cpu").manual_seed(job.seed),
        output_type=output_type or "pil",
        **more,
    ).images
    return images if output_type else np.asarray(images[0])
