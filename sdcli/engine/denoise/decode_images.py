"""Decode the latents of a pipeline's run, and find the weights that made no numbers of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sdcli.engine.loading.pipeline import LoadedPipeline
from sdcli.engine.vae.decode import decode_latents
from sdcli.engine.vae.memory_fallback import can_tile
from sdcli.errors import NumericsError


def decode_images(
    loaded: LoadedPipeline, latents: torch.Tensor, tiling: str, generators: list[torch.Generator]
) -> tuple[NDArray[np.uint8], list[str]]:
    """Decode as `decode_latents` does. Raises CorruptError for weights that are not numbers."""
    pipeline: Any = loaded.pipeline
    placement = loaded.placement
    placement.rest()
    events = []
    if placement.needs_tiles and tiling == "auto" and can_tile(pipeline.vae):
        tiling = "on"
        events = ["VAE: in tiles, since the whole image needs more memory (seams may differ)"]
    try:
        pixels, fallbacks = decode_latents(
            pipeline,
            latents,
            tiling=tiling,
            generators=generators,
            make_room=placement.make_room,
        )
        return pixels, [*events, *fallbacks]
    except NumericsError as error:
        raise loaded.defective_weights_error() or error from None
