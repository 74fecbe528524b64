"""Convert between the latents of a VAE and those of the UNet."""

from __future__ import annotations

from typing import Any

import torch


def unscale_latents(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """Convert latents (batch, 4, height/8, width/8) of the UNet to those that the VAE decodes."""
    factor: float = vae.config.scaling_factor
    if (moments := _moments(vae, latents)) is None:
        return latents / factor
    mean, std = moments
    return latents * std / factor + mean


def scale_latents(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """Convert latents (batch, 4, height/8, width/8) of the VAE to those of the UNet."""
    factor: float = vae.config.scaling_factor
    if (moments := _moments(vae, latents)) is None:
        return latents * factor
    mean, std = moments
    return (latents - mean) * factor / std


def _moments(vae: Any, latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return the mean and standard deviation of each channel, which few VAEs have."""
    values = [vae.config.get("latents_mean"), vae.config.get("latents_std")]
    if None in values:
        return None
    mean, std = (
        torch.tensor(v).view(1, -1, 1, 1).to(latents.device, latents.dtype) for v in values
    )
    return mean, std
