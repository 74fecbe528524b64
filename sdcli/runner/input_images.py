"""Read the input images of jobs, and put the results back into them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sdcli.input_images import InputImage
from sdcli.job import Job
from sdcli.result import GenerationResult

if TYPE_CHECKING:
    from sdcli.engine import LoadedPipeline
    from sdcli.storage.images.control_images import PreparedControls
    from sdcli.storage.images.image_prompts import ImagePrompts
    from sdcli.storage.images.prepared_input import PreparedInput


def read_image(path: str) -> InputImage:
    """Read the hash and the size of an image file. Raises UsageError and CorruptError."""
    from sdcli.storage.images.input_files import describe_input

    return describe_input(path)


def prepare_images(pipeline: LoadedPipeline, job: Job) -> PreparedInput | None:
    """Prepare the image and mask of a job, None for one from text alone. Raises UsageError."""
    if job.image is None:
        return None
    from sdcli.storage.images.prepared_input import prepare_input

    _, cell = pipeline.latent_shape
    return prepare_input(job, max(8, cell))


def prepare_controls(
    pipeline: LoadedPipeline, job: Job, prepared: PreparedInput | None
) -> PreparedControls | None:
    """Prepare the images for a job's ControlNets, None without them. Raises UsageError."""
    if job.controlnet is None:
        return None
    from sdcli.storage.images import control_images

    _, cell = pipeline.latent_shape
    return control_images.prepare_controls(job, max(8, cell), prepared)


def read_image_prompts(job: Job) -> ImagePrompts:
    """Read the images for a job's IP-Adapters, none without them. Raises UsageError."""
    from sdcli.storage.images import image_prompts

    if job.ip_adapter is None:
        return image_prompts.ImagePrompts()
    return image_prompts.read_image_prompts(job)


def insert_result(prepared: PreparedInput, result: GenerationResult) -> GenerationResult:
    """Return the result with the whole image around what was drawn, and notes about its input."""
    pixels = result.pixels
    # A second pass has redrawn the whole image, at a size of its own.
    if result.job.hires is None:
        pixels = prepared.insert(pixels, keep_unmasked=result.job.keep_unmasked)
    return replace(result, pixels=pixels, events=(*prepared.notes, *result.events))
