"""Encode pixels to latents as Diffusers' image-to-image pipeline does, with the same fallbacks."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderTiny
from numpy.typing import NDArray

from sdcli.engine.loading.vae import LoadedVae
from sdcli.engine.vae.memory_fallback import Generators, run_with_memory_fallback
from sdcli.engine.vae.precision_fallback import run_with_float32_fallback
from sdcli.engine.vae.scaling import scale_latents
from sdcli.engine.vae.upcast import upcast_if_asked
from sdcli.errors import NumericsError, UsageError


def encode_image(
    loaded: LoadedVae,
    pixels: NDArray[np.uint8],
    *,
    seed: int | None = None,
    tiling: str = "auto",
) -> tuple[NDArray[Any], list[str]]:
    """Encode pixels (height, width, 3) to latents (4, height/8, width/8), scaled for the UNet.

    The sides must be multiples of the VAE's scale. The latents are the mean of the VAE's
    distribution, or with a `seed` a sample of it. The second value returned describes the
    fallbacks.

    Raises UsageError for a sample of a VAE without a distribution, DeviceError or NumericsError if
    the last fallback fails.
    """
    vae = loaded.vae
    _check_seed(vae, seed)
    events: list[str] = []
    generators = None if seed is None else [torch.Generator("cpu").manual_seed(seed)]
    image = loaded.image_processor.preprocess(pixels[None].astype(np.float32) / 255)

    def encode_batch() -> torch.Tensor:
        return run_with_memory_fallback(
            vae,
            encodable,
            lambda batch, batch_generators: _encode(vae, batch, batch_generators),
            events,
            tiling=tiling,
            generators=generators,
        )

    with upcast_if_asked(loaded, image) as encodable:
        latents, defect = run_with_float32_fallback(
            vae, encode_batch, _find_defect, events, action="encoded"
        )
    if defect:
        raise NumericsError(
            "VAE: the latents of the image are not finite",
            code="numerics.vae",
            hint="try another VAE (--vae), or check the model's files",
        )
    # The VAE may return its result in channels-last memory order.
    return np.ascontiguousarray(latents[0].float().cpu().numpy()), events


def _check_seed(vae: Any, seed: int | None) -> None:
    if seed is not None and isinstance(vae, AutoencoderTiny):
        raise UsageError(
            "--sample: AutoencoderTiny has no distribution to sample from",
            code="usage.sample",
            hint="leave --sample out, or encode with another --vae",
        )


def _find_defect(latents: torch.Tensor) -> str:
    return "" if torch.isfinite(latents).all() else "not finite"


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
    return scale_latents(vae, latents)  # (batch, 4, height/8, width/8)
