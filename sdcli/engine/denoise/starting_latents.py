"""Observe or replace the latents that a pipeline makes of its input image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from sdcli.engine.denoise.injection import match_layout
from sdcli.engine.recorders.patching import patch_method


@contextmanager
def starting_latents(
    pipeline: Any, replacement: torch.Tensor | None, observe: Callable[[torch.Tensor], None]
) -> Iterator[None]:
    """Call `observe` with the noised latents of the input image (batch, 4, height/8, width/8).

    `replacement` takes their place, if given. The pipeline still encodes the image and draws from
    its generators, so that everything else of the run stays as it was.
    """

    def prepare(original: Any, *args: Any, **kwargs: Any) -> Any:
        prepared = original(*args, **kwargs)
        # The inpainting pipeline also returns the noise and the latents of the image.
        latents, *rest = prepared if isinstance(prepared, tuple) else (prepared,)
        latents = latents if replacement is None else match_layout(replacement, latents)
        observe(latents)
        return (latents, *rest) if rest else latents

    with patch_method(pipeline, "prepare_latents", prepare):
        yield
