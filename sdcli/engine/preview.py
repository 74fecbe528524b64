"""What latents look like: through a VAE, or at once by a linear map of channels to colours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sdcli.checkpoints.hub import fetch_model
from sdcli.checkpoints.latent_rgb import read_latent_rgb_factors
from sdcli.checkpoints.model_defaults import read_defaults
from sdcli.errors import UsageError
from sdcli.numerics.latent_rgb import latents_to_rgb
from sdcli.request import PipelineSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sdcli.engine.loading.vae import LoadedVae
    from sdcli.latents import LatentsRenderer

    """Latents (channels, height/8, width/8) to pixels (height, width, 3)."""


def linear_renderer(spec: PipelineSpec, channels: int | None = None) -> LatentsRenderer:
    """The linear map of the model that `spec` names; loads nothing, and needs no torch.

    Raises UsageError when nobody has said what the model's latents look like, or when they do not
    have the `channels` that are to be looked at.
    """
    folder = fetch_model(replace(spec, vae=None))
    factors, scale = read_latent_rgb_factors(folder), read_defaults(folder).vae_scale_factor
    if channels is not None and channels != len(factors) - 1:
        raise UsageError(
            f"latents of {channels} channels, {spec.model} has {len(factors) - 1}",
            code="latents.channels",
            hint="give the --model that they are of",
        )
    return lambda latents: latents_to_rgb(latents, factors, scale)


def vae_renderer(
    spec: PipelineSpec, warn: Callable[[str], None], tiling: str = "auto"
) -> LatentsRenderer:
    """The VAE that `spec` names, loaded once. Never call this in two threads, as with `load`.

    `warn` hears what was found out while loading, and the rungs that a decode took.
    """
    from sdcli import engine

    loaded = engine.load_vae(spec)
    for note in loaded.notes:
        warn(note)
    return loaded_vae_renderer(loaded, warn, tiling)


def loaded_vae_renderer(
    loaded: LoadedVae, warn: Callable[[str], None], tiling: str = "auto"
) -> LatentsRenderer:
    """A VAE that is there already, one picture at a time, as `generate` decodes."""
    from sdcli.engine.vae.roundtrip import decode_array

    def look(latents: NDArray[Any]) -> NDArray[np.uint8]:
        decoded = decode_array(loaded, latents, tiling=tiling)
        for event in decoded.events:
            warn(event)
        return decoded.pixels

    return look
