"""Decode in float32 with a VAE whose configuration asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import StableDiffusionXLPipeline

from sdcli.engine.vae.precision_fallback import float32_vae


@contextmanager
def upcast_if_asked(
    pipeline: Any, latents: torch.Tensor
) -> Iterator[tuple[torch.Tensor, tuple[str, ...]]]:
    """Convert the VAE to float32 in the `with` block if it must not decode in float16.

    Yields the latents in the dtype to decode them in, and a sentence for the record. Only the
    pipeline of Stable Diffusion XL obeys `force_upcast`, which most VAEs have.
    """
    vae = pipeline.vae
    is_asked = isinstance(pipeline, StableDiffusionXLPipeline) and vae.config.get("force_upcast")
    if not is_asked or vae.dtype != torch.float16:
        yield latents, ()
        return
    with float32_vae(vae):
        yield (
            latents.float(),
            ("VAE: decoded in float32, as its configuration asks (force_upcast)",),
        )
