"""Choose the order in which the decoder of a VAE keeps its numbers in memory."""

from __future__ import annotations

from typing import Any, Final

import torch
from diffusers import AutoencoderKL

from sdcli.engine.runtime.devices import has_fast_bfloat16

CHANNELS_LAST: Final = "channels_last"

_LARGE_DECODER_BYTES: Final = 50_000_000
"""Smaller decoders, such as that of the built-in model, gain nothing."""


def use_fast_order(vae: Any, device: torch.device) -> None:
    """Keep the channels of each pixel together in a large decoder in bfloat16 on a CPU.

    Its convolutions are faster then, and round differently. The encoder stays as it is: its
    latents would be in that order too, and change how the UNet rounds.
    """
    if device.type != "cpu" or vae.dtype != torch.bfloat16 or not isinstance(vae, AutoencoderKL):
        return
    size = sum(tensor.nbytes for tensor in vae.decoder.parameters())
    if size >= _LARGE_DECODER_BYTES and has_fast_bfloat16():
        vae.decoder.to(memory_format=torch.channels_last)


def memory_order(vae: Any) -> str | None:
    """Return the order of a decoder, None for the usual one."""
    if not isinstance(vae, AutoencoderKL):
        return None
    weight = vae.decoder.conv_in.weight
    is_changed = not weight.is_contiguous() and weight.is_contiguous(
        memory_format=torch.channels_last
    )
    return CHANNELS_LAST if is_changed else None
