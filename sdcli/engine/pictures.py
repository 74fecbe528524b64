"""Arrays of latents to pixels and back, through a model's VAE."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sdcli.catalog.models import read_json
from sdcli.engine.decode import decode
from sdcli.engine.fetch import fetch
from sdcli.engine.schedulers import scheduler_class
from sdcli.engine.vaes import load_vae
from sdcli.errors import UsageError
from sdcli.request import PipelineSpec


class Pictures:
    """A VAE, loaded once for many latents."""

    def __init__(self, spec: PipelineSpec) -> None:
        self._loaded = load_vae(spec)
        self.notes = self._loaded.notes
        self.grid = self._loaded.facts.vae_scale_factor
        self._vae = self._loaded.vae

    def decode(self, latents: NDArray[Any]) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
        """Pixels (height, width, 3) of latents (channels, height/8, width/8), and rungs taken.

        One at a time, as `generate` does, so that the last latents are the image to the bit.
        Raises UsageError for latents of another number of channels, DeviceError, NumericsError.
        """
        channels = self._vae.config.latent_channels
        if latents.shape[0] != channels:
            raise UsageError(
                f"latents of {latents.shape[0]} channels, this VAE takes {channels}",
                code="latents.channels",
                hint="give the --model or --vae that they are of",
            )
        dtype = self._vae.dtype
        batch = torch.from_numpy(np.array(latents))[None].to(self._loaded.device, dtype)
        pixels, events = decode(self._loaded, batch)
        return pixels[0], tuple(events)

    @torch.no_grad()
    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The likeliest latents (channels, height/8, width/8) of pixels (height, width, 3)."""
        unit = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float() / 127.5 - 1
        encoded = self._vae.encode(unit.to(self._loaded.device, self._vae.dtype))
        found = encoded.latent_dist.mode() if "latent_dist" in encoded else encoded.latents
        scaled = found * self._vae.config.scaling_factor
        array: NDArray[np.float32] = scaled[0].float().cpu().numpy()
        return array

    def noised(
        self, latents: NDArray[np.float32], timesteps: Sequence[int], seed: int
    ) -> list[NDArray[np.float32]]:
        """The forward process: the latents at each trained time 1 to 1000, all with one noise.

        x_t = sqrt(ᾱ) x_0 + sqrt(1 - ᾱ) ε (Ho et al., arXiv 2006.11239, equation 4); time 0 is the
        latents themselves.
        """
        alphas = _trained_alphas(fetch(self._loaded.spec))
        generator = torch.Generator("cpu").manual_seed(seed)
        noise = torch.randn((1, *latents.shape), generator=generator)[0].numpy()
        walked = []
        for timestep in timesteps:
            alpha = float(alphas[timestep - 1]) if timestep else 1.0
            mixed = np.sqrt(alpha) * latents + np.sqrt(1 - alpha) * noise
            walked.append(mixed.astype(np.float32))
        return walked


def _trained_alphas(folder: Path) -> NDArray[np.float64]:
    """How much of the picture is left at each trained time (ᾱ), by the model's own scheduler."""
    config = read_json(folder / "scheduler" / "scheduler_config.json")
    scheduler = scheduler_class(str(config.get("_class_name"))).from_config(config)
    alphas: NDArray[np.float64] = scheduler.alphas_cumprod.double().numpy()
    return alphas
