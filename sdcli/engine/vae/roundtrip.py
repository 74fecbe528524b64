"""Latents as an array, out of a file, decoded and encoded by a VAE alone."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sdcli.engine.loading.vae import LoadedVae
from sdcli.engine.runtime.profiling import profile
from sdcli.engine.vae.decode import decode_latents
from sdcli.engine.vae.encode import encode_image
from sdcli.errors import UsageError


@dataclass(frozen=True, kw_only=True, eq=False)
class DecodedImage:
    """Pixels (height, width, 3), the rungs taken, and the time."""

    pixels: NDArray[np.uint8]
    events: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, kw_only=True, eq=False)
class RoundTrip:
    """A picture that went through a VAE, and what that cost; no encoding when it was latents."""

    pixels: NDArray[np.uint8]
    events: tuple[str, ...]
    encode_seconds: float | None
    decode_seconds: float
    peak_bytes: int | None


def decode_array(
    loaded: LoadedVae, latents: NDArray[Any], *, tiling: str = "auto", seed: int = 0
) -> DecodedImage:
    """Decode latents (4, height/8, width/8) as a run would that ended with them.

    `seed` is for a VAE that draws noise. Raises UsageError when they have another number of
    channels, DeviceError and NumericsError as `decode` does.
    """
    channels = loaded.facts.latent_channels
    if latents.shape[0] != channels:
        raise UsageError(
            f"latents of {latents.shape[0]} channels, the VAE reads {channels}",
            code="usage.latents",
            hint="they are another model's: name it with --model",
        )
    started = time.perf_counter()
    # In the run's dtype before anything else, or the division would round otherwise than there.
    batch = torch.from_numpy(latents)[None].to(loaded.device, loaded.dtype)
    generators = [torch.Generator("cpu").manual_seed(seed)]
    pixels, events = decode_latents(loaded, batch, tiling=tiling, generators=generators)
    return DecodedImage(
        pixels=pixels[0], events=tuple(events), seconds=time.perf_counter() - started
    )


def round_trip(
    loaded: LoadedVae,
    *,
    pixels: NDArray[np.uint8] | None,
    latents: NDArray[Any] | None,
    tiling: str = "auto",
) -> RoundTrip:
    """Decode the latents, or those that the pixels are encoded to, and measure it."""
    events: list[str] = []
    encoded = None
    if latents is None:
        assert pixels is not None
        picture = pixels
        encoded = profile(lambda: encode_image(loaded, picture, tiling=tiling), loaded.device)
        latents, rungs = encoded.result
        events += rungs
    given = latents
    decoded = profile(lambda: decode_array(loaded, given, tiling=tiling), loaded.device)
    peaks = [m.peak_bytes for m in (encoded, decoded) if m and m.peak_bytes is not None]
    return RoundTrip(
        pixels=decoded.result.pixels,
        events=(*events, *decoded.result.events),
        encode_seconds=round(encoded.seconds, 4) if encoded else None,
        decode_seconds=round(decoded.seconds, 4),
        peak_bytes=max(peaks, default=None),
    )
