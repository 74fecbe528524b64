"""Render latents as images, with a VAE or with a fast linear approximation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sdcli.checkpoints.hub import fetch_model
from sdcli.checkpoints.latent_rgb import read_latent_rgb_factors
from sdcli.checkpoints.model_defaults import read_defaults
from sdcli.errors import UsageError
from sdcli.numerics.latent_rgb import latents_to_rgb
from sdcli.pipeline_spec import PipelineSpec

# Nothing here imports torch until a VAE is needed: the linear renderer works without it.
if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sdcli.engine.loading.vae import LoadedVae
    from sdcli.latents import LatentsRenderer


def linear_renderer(spec: PipelineSpec, channels: int | None = None) -> LatentsRenderer:
    """Return the linear approximation of the spec's model, which maps latent channels to RGB.

    Raises UsageError if the approximation of the model is unknown, or if its latents do not have
    the given number of `channels`.
    """
    folder = fetch_model(replace(spec, vae=None))
    factors, scale = read_latent_rgb_factors(folder), read_defaults(folder).vae_scale_factor
    # The last row of the factors is the bias.
    if channels is not None and channels != len(factors) - 1:
        raise UsageError(
            f"the latents have {channels} channels, those of {spec.model} have {len(factors) - 1}",
            code="latents.channels",
            hint="name the model that they belong to with --model",
        )
    return lambda latents: latents_to_rgb(latents, factors, scale)


def vae_renderer(
    spec: PipelineSpec, warn: Callable[[str], None], tiling: str = "auto"
) -> LatentsRenderer:
    """Load the VAE that the spec names, and return a function that decodes with it.

    `warn` receives the notes of loading, and the events of each decoding. Not thread-safe, like
    `load`.
    """
    from sdcli import engine

    loaded = engine.load_vae(spec)
    for note in loaded.notes:
        warn(note)
    return loaded_vae_renderer(loaded, warn, tiling)


def loaded_vae_renderer(
    loaded: LoadedVae, warn: Callable[[str], None], tiling: str = "auto"
) -> LatentsRenderer:
    """Return a function that decodes one image at a time with a loaded VAE."""
    from sdcli.engine.vae.roundtrip import decode_array

    def render(latents: NDArray[Any]) -> NDArray[np.uint8]:
        decoded = decode_array(loaded, latents, tiling=tiling)
        for event in decoded.events:
            warn(event)
        return decoded.pixels

    return render
