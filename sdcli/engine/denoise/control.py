"""Guide the UNet by ControlNets: add what they make of their images to its layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sdcli.control_fields import ControlImage, parse_control_images
from sdcli.engine.loading.pipeline import LoadedPipeline
from sdcli.engine.recorders.patching import patch_method
from sdcli.job import Job

Position = Callable[[], tuple[int, int]]
"""Returns the number of the current UNet call, from 0, and that of all calls of the run."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Control:
    """A loaded ControlNet with its image (1, 3, height, width), from 0 to 1."""

    network: Any
    image: torch.Tensor
    use: ControlImage

    def is_active(self, call: int, calls: int) -> bool:
        """Whether it guides this call of the UNet, by Diffusers' rule."""
        return call / calls >= self.use.start and (call + 1) / calls <= self.use.end

    def __call__(self, sample: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """Return its output for the `sample`, one part for each of the UNet's layers."""
        rows, latents = len(sample), self.network.config.in_channels
        down, middle = self.network(
            # The UNet of an inpainting model also takes a mask and an image.
            sample[:, :latents],
            *args,
            controlnet_cond=self.image.repeat(rows, 1, 1, 1),
            conditioning_scale=self.use.scale,
            guess_mode=False,
            return_dict=False,
            **kwargs,
        )
        return [*down, middle]


def load_controls(
    loaded: LoadedPipeline, job: Job, images: Sequence[NDArray[np.uint8]]
) -> list[Control]:
    """Load the ControlNets of a job, for `images` at the size that it draws.

    One with a scale of 0 is left out, so that it changes nothing at all.
    """
    if job.controlnet is None:
        return []
    uses = parse_control_images(job.control_image)
    networks = loaded.controlnets.load(job, [bool(use.scale) for use in uses])
    return [
        Control(network=network, image=_to_tensor(image, loaded), use=use)
        for use, network, image in zip(uses, networks, images, strict=True)
        if use.scale
    ]


def _to_tensor(image: NDArray[np.uint8], loaded: LoadedPipeline) -> torch.Tensor:
    scaled = image.astype(np.float32) / np.float32(255)
    tensor = torch.from_numpy(scaled.transpose(2, 0, 1)[None].copy())
    return tensor.to(loaded.device, loaded.dtype)


@contextmanager
def controlled(unet: Any, controls: Sequence[Control], position: Position) -> Iterator[None]:
    """Add the outputs of ControlNets to every UNet call in their part of the run."""

    def forward(
        original: Any, sample: torch.Tensor, timestep: Any, *args: Any, **kwargs: Any
    ) -> Any:
        active = [control for control in controls if control.is_active(*position())]
        if not active:
            return original(sample, timestep, *args, **kwargs)
        inputs = {"encoder_hidden_states": kwargs["encoder_hidden_states"]}
        # Only Stable Diffusion XL has them.
        if added := kwargs.get("added_cond_kwargs"):
            inputs["added_cond_kwargs"] = added
        total = active[0](sample, timestep, **inputs)
        for control in active[1:]:
            more = control(sample, timestep, **inputs)
            total = [one + other for one, other in zip(total, more, strict=True)]
        *down, middle = total
        residuals = {
            "down_block_additional_residuals": down,
            "mid_block_additional_residual": middle,
        }
        return original(sample, timestep, *args, **kwargs, **residuals)

    if not controls:
        yield
        return
    with patch_method(unet, "forward", forward):
        yield
