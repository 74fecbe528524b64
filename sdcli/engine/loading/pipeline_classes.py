"""Choose the Diffusers pipeline of a job, and build it over the components that are loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from diffusers import (
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
)

from sdcli.job import Job

Mode = Literal["text", "image", "inpaint"]
"""The inputs of a run: a prompt, an image too, or a mask as well."""

_CLASSES: Final[Mapping[tuple[Any, Mode], Any]] = {
    (StableDiffusionPipeline, "image"): StableDiffusionImg2ImgPipeline,
    (StableDiffusionPipeline, "inpaint"): StableDiffusionInpaintPipeline,
    (StableDiffusionXLPipeline, "image"): StableDiffusionXLImg2ImgPipeline,
    (StableDiffusionXLPipeline, "inpaint"): StableDiffusionXLInpaintPipeline,
}
"""The pipeline of each further mode, by the text-to-image pipeline of the model's family."""


def mode_of(job: Job) -> Mode:
    """Return the mode that a job runs in."""
    if job.image is None:
        return "text"
    return "inpaint" if job.has_mask else "image"


def build_relative(pipeline: Any, mode: Mode) -> Any:
    """Return the pipeline of a mode but "text" over the components of a text-to-image pipeline.

    They are shared, not copied, except for the scheduler, which each run sets anew.
    """
    cls = _CLASSES[type(pipeline), mode]
    scheduler = type(pipeline.scheduler).from_config(pipeline.scheduler.config)
    components = {**pipeline.components, "scheduler": scheduler}
    relative = cls(**components, **_options(pipeline))
    relative.set_progress_bar_config(disable=True)
    return relative


def _options(pipeline: Any) -> dict[str, Any]:
    if not isinstance(pipeline, StableDiffusionXLPipeline):
        return {"requires_safety_checker": False}
    # Only the refiner takes an aesthetic score, and it is built by itself.
    zeroes = pipeline.config.force_zeros_for_empty_prompt
    return {
        "force_zeros_for_empty_prompt": zeroes,
        "requires_aesthetics_score": False,
        "add_watermarker": False,
    }
