"""Latents to pixels, as the pipeline does it, with a ladder for NaN and for too little memory.

Own code because the pipeline never casts latents to the VAE's dtype and turns NaN into black.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sdcli.engine import memory
from sdcli.errors import DeviceError, NumericsError

_TILE = 256
"""Side of a tile in pixels: the VAE's own (its training size) would leave most images whole."""


def decode(pipeline: Any, latents: torch.Tensor) -> tuple[NDArray[np.uint8], list[str]]:
    """Pixels (batch, height, width, 3) of latents (batch, 4, height/8, width/8), and rungs taken.

    Rungs: slicing, then tiling when memory runs out; float32 when the result is not finite.
    Raises DeviceError or NumericsError when the last rung does not help.
    """
    events: list[str] = []
    vae = pipeline.vae
    images = _within_memory(vae, latents, events)
    if not torch.isfinite(images).all() and vae.dtype != torch.float32:
        events.append(f"VAE: not finite in {_name(vae.dtype)}, decoded in float32")
        with _in_float32(vae):
            images = _within_memory(vae, latents, events)
    if not torch.isfinite(images).all():
        raise NumericsError(
            "VAE: the decoded image is not finite",
            code="numerics.vae",
            hint="try another VAE (--vae), or check the model's files",
        )
    unit = pipeline.image_processor.postprocess(images, output_type="np")
    return (unit * 255).round().astype(np.uint8), events


def _within_memory(vae: Any, latents: torch.Tensor, events: list[str]) -> torch.Tensor:
    rungs = (
        ("", lambda: None),
        ("VAE: out of memory, decoded one image at a time", vae.enable_slicing),
        ("VAE: out of memory, decoded in tiles (seams may differ)", lambda: _enable_tiling(vae)),
    )
    try:
        for event, enable in rungs:
            if event:
                events.append(event)
                memory.release()
            enable()
            try:
                return _decode(vae, latents)
            except RuntimeError as error:
                if not memory.is_out_of_memory(error):
                    raise
    finally:
        vae.disable_tiling()
        vae.disable_slicing()
    raise DeviceError(
        "VAE: out of memory, even in tiles",
        code="device.memory",
        hint="use a smaller --size, --vae tiny, or --device cpu",
    )


@torch.no_grad()
def _decode(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    scaled = latents / vae.config.scaling_factor
    images: torch.Tensor = vae.decode(scaled.to(vae.dtype), return_dict=False)[0]
    return images  # (batch, 3, height, width), about -1…1


def _enable_tiling(vae: Any) -> None:
    vae.enable_tiling()
    scale = 2 ** (len(vae.config.block_out_channels) - 1)
    vae.tile_sample_min_size = _TILE
    vae.tile_latent_min_size = _TILE // scale


@contextmanager
def _in_float32(vae: Any) -> Iterator[None]:
    dtype = vae.dtype
    vae.to(dtype=torch.float32)
    try:
        yield
    finally:
        vae.to(dtype=dtype)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
