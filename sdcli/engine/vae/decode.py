"""Latents to pixels, as the pipeline does it, with a ladder for NaN and for too little memory.

Own code because the pipeline never casts latents to the VAE's dtype and turns NaN into black.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from diffusers import ConsistencyDecoderVAE
from numpy.typing import NDArray

from sdcli.engine.vae.memory_fallback import Generators, float32_vae, run_with_memory_fallback
from sdcli.errors import NumericsError

_NOT_FINITE, _BLACK = "not finite", "black"


def decode_latents(
    pipeline: Any,
    latents: torch.Tensor,
    *,
    tiling: str = "auto",
    generators: Generators = None,
) -> tuple[NDArray[np.uint8], list[str]]:
    """Pixels (batch, height, width, 3) of latents (batch, 4, height/8, width/8), and rungs taken.

    `pipeline` is anything with a `vae` and an `image_processor`. Rungs: one image at a time, then
    tiles (unless `tiling` is off; on begins there), then the CPU when memory runs out; float32 when
    the result is not finite or black. `generators`, one an image, are for the VAE that draws noise.
    Raises DeviceError or NumericsError when the last rung does not help.
    """
    vae = pipeline.vae
    events: list[str] = []

    def attempt() -> torch.Tensor:
        return run_with_memory_fallback(
            vae,
            latents,
            lambda batch, own: _decode(vae, batch, own),
            events,
            tiling=tiling,
            generators=generators if isinstance(vae, ConsistencyDecoderVAE) else None,
        )

    images = attempt()
    if (wrong := _find_defect(images)) and vae.dtype != torch.float32:
        events.append(f"VAE: {wrong} in {_vae_name(vae.dtype)}, decoded in float32")
        with float32_vae(vae):
            images = attempt()
        wrong = _find_defect(images)
    if wrong == _NOT_FINITE:
        raise NumericsError(
            "VAE: the decoded image is not finite",
            code="numerics.vae",
            hint="try another VAE (--vae), or check the model's files",
        )
    if wrong:  # in full precision it is believed: a black picture has black latents
        events.append(f"VAE: the picture is {wrong}")
    unit = pipeline.image_processor.postprocess(images, output_type="np")
    return (unit * 255).round().astype(np.uint8), events


def _find_defect(images: torch.Tensor) -> str:
    """What ails the images (batch, 3, height, width), "" for nothing."""
    if not torch.isfinite(images).all():
        return _NOT_FINITE
    return _BLACK if bool((images.flatten(1).amax(1) <= -1).any()) else ""


@torch.no_grad()
def _decode(vae: Any, latents: torch.Tensor, generators: Generators) -> torch.Tensor:
    scaled = (latents / vae.config.scaling_factor).to(vae.device, vae.dtype)
    draws = {} if generators is None else {"generator": list(generators)}
    images: torch.Tensor = vae.decode(scaled, return_dict=False, **draws)[0]
    return images  # (batch, 3, height, width), about -1…1


def _vae_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
