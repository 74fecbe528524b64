"""Decode and encode single images with a VAE that was loaded alone, and measure the cost."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
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
    """Pixels (height, width, 3), sentences about fallbacks, and the duration."""

    pixels: NDArray[np.uint8]
    events: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, kw_only=True, eq=False)
class RoundTrip:
    """An image (height, width, 3) after encoding and decoding, and what that cost.

    `encode_seconds` is None if the input was latents. `peak_bytes` is None if unknown.
    """

    pixels: NDArray[np.uint8]
    events: tuple[str, ...]
    encode_seconds: float | None
    decode_seconds: float
    peak_bytes: int | None


def decode_array(
    loaded: LoadedVae, latents: NDArray[Any], *, tiling: str = "auto", seed: int = 0
) -> DecodedImage:
    """Decode latents (4, height/8, width/8) exactly as a run that ends with them would.

    `seed` is for a VAE that draws noise. Raises UsageError if the VAE needs another number of
    channels, DeviceError and NumericsError as `decode_latents` does.
    """
    channels = loaded.facts.latent_channels
    if latents.shape[0] != channels:
        raise UsageError(
            f"the latents have {latents.shape[0]} channels, but the VAE needs {channels}",
            code="usage.latents",
            hint="they were made by another model: name it with --model",
        )
    started = time.perf_counter()
    # The dtype of a run, before the division by the scaling factor, which rounds in it.
    batch = torch.from_numpy(latents)[None].to(loaded.device, loaded.vae.dtype)
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
    """Decode `latents`, or encode `pixels` (height, width, 3) and decode the result."""
    events: list[str] = []
    encoded = None
    if latents is None:
        assert pixels is not None
        encoded = profile(partial(encode_image, loaded, pixels, tiling=tiling), loaded.device)
        latents, events = encoded.result
    decoded = profile(partial(decode_array, loaded, latents, tiling=tiling), loaded.device)
    profiles = (encoded, decoded) if encoded else (decoded,)
    peaks = [p.peak_bytes for p in profiles if p.peak_bytes is not None]
    return RoundTrip(
        pixels=decoded.result.pixels,
        events=(*events, *decoded.result.events),
        encode_seconds=round(encoded.seconds, 4) if encoded else None,
        decode_seconds=round(decoded.seconds, 4),
        peak_bytes=max(peaks, default=None),
    )
