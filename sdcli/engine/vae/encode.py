"""Pixels to latents, as Diffusers' image-to-image does it, with the VAE's ladder."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderTiny
from numpy.typing import NDArray

from sdcli.engine.loading.vae import LoadedVae
from sdcli.engine.vae.memory_fallback import Generators, float32_vae, run_with_memory_fallback
from sdcli.errors import NumericsError, UsageError


def encode_image(
    loaded: LoadedVae,
    pixels: NDArray[np.uint8],
    *,
    seed: int | None = None,
    tiling: str = "auto",
) -> tuple[NDArray[Any], list[str]]:
    """Latents (4, height/8, width/8) of pixels (height, width, 3), as the UNet has them; rungs.

    The mean of the VAE's distribution, or with a `seed` a sample of it. The sides must be multiples
    of the VAE's scale. Raises UsageError for a sample of a VAE that has no distribution,
    DeviceError and NumericsError as `decode` does.
    """
    vae = loaded.vae
    if seed is not None and isinstance(vae, AutoencoderTiny):
        raise UsageError(
            "--sample: AutoencoderTiny has no distribution to sample from",
            code="usage.sample",
            hint="leave --sample out, or encode with another --vae",
        )
    events: list[str] = []
    generators = None if seed is None else [torch.Generator("cpu").manual_seed(seed)]
    image = loaded.image_processor.preprocess(pixels[None].astype(np.float32) / 255)

    def attempt() -> torch.Tensor:
        return run_with_memory_fallback(
            vae,
            image,
            lambda batch, own: _encode(vae, batch, own),
            events,
            tiling=tiling,
            generators=generators,
        )

    latents = attempt()
    if not torch.isfinite(latents).all() and vae.dtype != torch.float32:
        events.append(f"VAE: not finite in {str(vae.dtype)[6:]}, encoded in float32")
        with float32_vae(vae):
            latents = attempt()
    if not torch.isfinite(latents).all():
        raise NumericsError(
            "VAE: the latents of the image are not finite",
            code="numerics.vae",
            hint="try another VAE (--vae), or check the model's files",
        )
    # The VAE's memory order may be channels last, which a reader of the array need not know.
    return np.ascontiguousarray(latents[0].float().cpu().numpy()), events


@torch.no_grad()
def _encode(vae: Any, image: torch.Tensor, generators: Generators) -> torch.Tensor:
    encoded = vae.encode(image.to(vae.device, vae.dtype))
    latents: torch.Tensor
    if isinstance(vae, AutoencoderTiny):
        latents = encoded.latents
    elif generators is None:
        latents = encoded.latent_dist.mean
    else:
        latents = encoded.latent_dist.sample(generators[0])
    scale: float = vae.config.scaling_factor
    return latents * scale  # (batch, 4, height/8, width/8)
