"""Read the images that a job shows to the model by IP-Adapters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sdcli.errors import UsageError
from sdcli.fields.ip_adapter import parse_ip_images
from sdcli.job import Job
from sdcli.storage.images.input_files import read_input

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class ImagePrompts:
    """The image prompts of a job, each (height, width, 3). `notes` are sentences for the record."""

    pixels: tuple[NDArray[np.uint8], ...] = ()
    notes: tuple[str, ...] = ()


def read_image_prompts(job: Job) -> ImagePrompts:
    """Read the image prompts of a job at their own size: the image encoder has one of its own.

    Raises UsageError for a file that has changed, and the errors of reading images.
    """
    uses = parse_ip_images(job.ip_image)
    pixels, notes = [], []
    for use, digest in zip(uses, job.ip_image_hashes, strict=True):
        try:
            image, read_notes = read_input(use.path, digest)
        except UsageError as error:
            message = f"ip_image: {error.message}"
            raise UsageError(message, code="usage.ip_image", hint=error.hint) from error
        pixels.append(image)
        notes += read_notes
    return ImagePrompts(pixels=tuple(pixels), notes=tuple(notes))
