"""Run a VAE in float32 where its configuration asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import StableDiffusionXLPipeline

from sdcli.engine.vae.precision_fallback import float32_vae


def must_upcast(pipeline: Any) -> bool:
    """Return whether the VAE of the pipeline must not run in the dtype that it has.

    `pipeline` is a pipeline of Diffusers, or a LoadedVae. Only the pipeline of Stable Diffusion XL
    obeys `force_upcast`, which most VAEs have.
    """
    is_xl = isinstance(pipeline, StableDiffusionXLPipeline) or getattr(pipeline, "is_xl", False)
    vae = pipeline.vae
    return bool(is_xl and vae.dtype == torch.float16 and vae.config.get("force_upcast"))


@contextmanager
def upcast_if_asked(pipeline: Any, tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """Convert the VAE to float32 in the `with` block if `must_upcast`.

    Yields the tensor in the dtype to give to the VAE.
    """
    if not must_upcast(pipeline):
        yield tensor
        return
    with float32_vae(pipeline.vae):
        yield tensor.float()
