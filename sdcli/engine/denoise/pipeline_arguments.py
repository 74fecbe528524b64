"""Build the arguments of a pipeline call that depend on its inputs: text, an image, a mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sdcli.engine.denoise.run_part import RunPart
from sdcli.engine.loading.pipeline_classes import mode_of
from sdcli.input_images import InputPixels
from sdcli.job import Job


@dataclass(frozen=True, kw_only=True, eq=False)
class BatchInputs:
    """The images that a batch starts from, and the mask that they share.

    `images` are pixels (batch, height, width, 3) from 0 to 1, or latents (batch, 4, height/8,
    width/8).
    """

    images: NDArray[np.float32] | torch.Tensor
    mask: NDArray[np.bool_] | None = None

    @classmethod
    def of(cls, inputs: InputPixels, copies: int) -> BatchInputs:
        """Return a copy of the input image for each image of a batch."""
        # The pipelines sample every image's latents from its own generator.
        images = np.repeat(inputs.image[None], copies, axis=0).astype(np.float32) / np.float32(255)
        return cls(images=images, mask=inputs.mask)


def call_arguments(
    jobs: Sequence[Job], part: RunPart, latents: torch.Tensor, inputs: BatchInputs | None
) -> dict[str, Any]:
    """Return the arguments that all jobs of a batch share, and the image of each.

    `latents` are the initial noise of a run from text, which the other pipelines draw themselves,
    or those that a refiner continues with.
    """
    job = jobs[0]
    # PAG comes before rescaling, which it then does itself.
    rescale = 0.0 if job.pag_scale else job.guidance_rescale
    shared = {"num_inference_steps": job.num_inference_steps, "eta": job.eta, **part.arguments}
    if part.first_call:
        return {**shared, "guidance_rescale": rescale, "image": latents}
    size = {"height": job.height, "width": job.width}
    if inputs is None:
        return {**shared, **size, "guidance_rescale": rescale, "latents": latents}
    from_image = {**shared, "strength": job.strength, "image": inputs.images}
    if part.sizes is not None:  # of Stable Diffusion XL: the other pipelines do not have it
        from_image["guidance_rescale"] = rescale
    if mode_of(job) == "image":
        return from_image
    assert inputs.mask is not None
    mask = np.repeat(inputs.mask[None, ..., None], len(jobs), axis=0).astype(np.float32)
    tensors = ["latents", "mask", "masked_image_latents"]
    return {
        **from_image,
        **size,
        "mask_image": mask,
        "callback_on_step_end_tensor_inputs": tensors,
    }


def resize_batch(tensor: torch.Tensor, images: int, *, guided: bool) -> torch.Tensor:
    """Return a tensor of the pipeline's loop with one half for guidance, or without."""
    half = tensor[:images]
    return torch.cat([half, half]) if guided else half
