"""Guide the UNet by ControlNets and T2I-Adapters: add what they make of images to its layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from diffusers import T2IAdapter
from numpy.typing import NDArray

from sdcli.engine.loading.pipeline import LoadedPipeline
from sdcli.engine.recorders.patching import patch_method
from sdcli.fields.control import ControlImage, parse_control_images
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

    def outputs(self, sample: torch.Tensor, *args: Any, **kwargs: Any) -> list[torch.Tensor]:
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


class AdapterControl(Control):
    """A loaded T2I-Adapter with its image, from which it makes the same for every call."""

    @cached_property
    @torch.no_grad()
    def _states(self) -> list[torch.Tensor]:
        return [state * self.use.scale for state in self.network(self.image)]

    def outputs(self, sample: torch.Tensor, *_: Any, **__: Any) -> list[torch.Tensor]:
        """Return its output, one part for each of the UNet's blocks."""
        # As in Diffusers, in the memory order of the states: another one rounds differently.
        return [torch.cat([state] * len(sample)) for state in self._states]


def load_controls(
    loaded: LoadedPipeline, job: Job, images: Sequence[NDArray[np.uint8]]
) -> list[Control]:
    """Load the ControlNets and T2I-Adapters of a job, for `images` at the size that it draws.

    One with a scale of 0 is left out, so that it changes nothing at all.
    """
    if job.controlnet is None:
        return []
    uses = parse_control_images(job.control_image)
    networks = loaded.controlnets.load(job, [bool(use.scale) for use in uses])
    return [
        _make(network, image, use, loaded)
        for use, network, image in zip(uses, networks, images, strict=True)
        if use.scale
    ]


def _make(
    network: Any, image: NDArray[np.uint8], use: ControlImage, loaded: LoadedPipeline
) -> Control:
    if not isinstance(network, T2IAdapter):
        return Control(network=network, image=_to_tensor(image, loaded), use=use)
    if network.config.in_channels == 1:
        image = _gray(image)
    # Diffusers takes the image in Pillow's memory order, in which networks round differently.
    ordered = torch.from_numpy(image[None].astype(np.float32) / np.float32(255))
    tensor = ordered.permute(0, 3, 1, 2).to(loaded.device, loaded.dtype)
    return AdapterControl(network=network, image=tensor, use=use)


def _gray(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a gray image (height, width, 1), rounded as Pillow does."""
    weighted = image.astype(np.uint32) @ np.array([19595, 38470, 7471], np.uint32)
    gray: NDArray[np.uint8] = ((weighted + (1 << 15)) >> 16).astype(np.uint8)[..., None]
    return gray


def _to_tensor(image: NDArray[np.uint8], loaded: LoadedPipeline) -> torch.Tensor:
    scaled = image.astype(np.float32) / np.float32(255)
    tensor = torch.from_numpy(scaled.transpose(2, 0, 1)[None].copy())
    return tensor.to(loaded.device, loaded.dtype)


@contextmanager
def controlled(unet: Any, controls: Sequence[Control], position: Position) -> Iterator[None]:
    """Add the outputs of networks to every UNet call in their part of the run."""

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
        outputs = [
            (isinstance(control, AdapterControl), control.outputs(sample, timestep, **inputs))
            for control in active
        ]
        residuals: dict[str, Any] = {}
        if layers := [output for is_adapter, output in outputs if not is_adapter]:
            *down, middle = _add(layers)
            residuals["down_block_additional_residuals"] = down
            residuals["mid_block_additional_residual"] = middle
        if blocks := [output for is_adapter, output in outputs if is_adapter]:
            residuals["down_intrablock_additional_residuals"] = _add(blocks)
        return original(sample, timestep, *args, **kwargs, **residuals)

    if not controls:
        yield
        return
    with patch_method(unet, "forward", forward):
        yield


def _add(outputs: Sequence[list[torch.Tensor]]) -> list[torch.Tensor]:
    """Return the sum of several networks' outputs, part by part."""
    total = outputs[0]
    for more in outputs[1:]:
        total = [one + other for one, other in zip(total, more, strict=True)]
    return total
