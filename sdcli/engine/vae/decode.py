"""Decode latents to pixels as the pipeline does, with fallbacks for NaN and for low memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from diffusers import ConsistencyDecoderVAE
from numpy.typing import NDArray

from sdcli.engine.vae.memory_fallback import Generators, MakeRoom, run_with_memory_fallback
from sdcli.engine.vae.precision_fallback import run_with_float32_fallback
from sdcli.engine.vae.scaling import unscale_latents
from sdcli.engine.vae.upcast import upcast_if_asked
from sdcli.errors import NumericsError

_NOT_FINITE, _BLACK = "not finite", "black"


def decode_latents(
    pipeline: Any,
    latents: torch.Tensor,
    *,
    tiling: str = "auto",
    generators: Generators = None,
    make_room: MakeRoom | None = None,
) -> tuple[NDArray[np.uint8], list[str]]:
    """Decode latents (batch, 4, height/8, width/8) to pixels (batch, height, width, 3).

    `pipeline` is any object with a `vae` and an `image_processor`. If memory runs out, images are
    decoded one at a time, then with the room that `make_room` makes, in tiles (`tiling` is `auto`,
    `on` or `off`), and on the CPU; if the result is not finite or black, in float32. The second
    value returned describes the fallbacks. `generators`, one per image, are for a VAE that draws
    noise.

    Raises DeviceError or NumericsError if the last fallback fails.
    """
    vae = pipeline.vae
    events: list[str] = []

    def decode_batch() -> torch.Tensor:
        return run_with_memory_fallback(
            vae,
            decodable,
            lambda batch, batch_generators: _decode(vae, batch, batch_generators),
            events,
            tiling=tiling,
            generators=generators if isinstance(vae, ConsistencyDecoderVAE) else None,
            make_room=make_room,
        )

    with upcast_if_asked(pipeline, latents) as decodable:
        # The pipeline itself would turn NaN into black pixels.
        images, defect = run_with_float32_fallback(
            vae, decode_batch, _find_defect, events, action="decoded"
        )
    if defect == _NOT_FINITE:
        raise NumericsError(
            "VAE: the decoded image is not finite",
            code="numerics.vae",
            hint="try another VAE (--vae), or check the model's files",
        )
    if defect:
        # In full precision black is no overflow: the latents are those of a black image.
        events.append(f"VAE: the image is {defect}")
    unit = pipeline.image_processor.postprocess(images, output_type="np")
    return (unit * 255).round().astype(np.uint8), events


def _find_defect(images: torch.Tensor) -> str:
    """Return the defect of the images (batch, 3, height, width), "" for none."""
    if not torch.isfinite(images).all():
        return _NOT_FINITE
    return _BLACK if bool((images.flatten(1).amax(1) <= -1).any()) else ""


@torch.no_grad()
def _decode(vae: Any, latents: torch.Tensor, generators: Generators) -> torch.Tensor:
    # Unscale first, in the dtype of the latents, to round as the pipeline does. The pipeline never
    # casts to the dtype of the VAE, which differs in the float32 fallback.
    unscaled = unscale_latents(vae, latents).to(vae.device, vae.dtype)
    options = {} if generators is None else {"generator": list(generators)}
    images: torch.Tensor = vae.decode(unscaled, return_dict=False, **options)[0]
    return images  # (batch, 3, height, width), about -1 to 1
