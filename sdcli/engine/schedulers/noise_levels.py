"""What a UNet's output says: the noise level it was asked at, the clean latents, the noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch


def timestep_sigmas(scheduler: Any) -> list[float]:
    """Sigma, the ratio of noise to image, at each of the scheduler's timesteps, first to last.

    Classes that round their timesteps to whole numbers keep the exact levels in `sigmas`; all
    others are exact in their timesteps, read off the training's schedule, log-linear between.
    """
    timesteps, kept = scheduler.timesteps, getattr(scheduler, "sigmas", None)
    if kept is not None and not timesteps.is_floating_point() and len(kept) > len(timesteps):
        return [float(sigma) for sigma in kept[: len(timesteps)]]
    trained = _trained_levels(scheduler)
    return [_between(trained, float(t)) for t in timesteps.tolist()]


def _trained_levels(scheduler: Any) -> list[float]:
    alphas = scheduler.alphas_cumprod.double().tolist()
    return [math.sqrt((1 - a) / a) if a > 0 else math.inf for a in alphas]


def _between(levels: Sequence[float], timestep: float) -> float:
    low = min(max(math.floor(timestep), 0), len(levels) - 1)
    high = min(low + 1, len(levels) - 1)
    part = timestep - low
    if not part or low == high or math.isinf(levels[high]):
        return levels[low]
    return math.exp((1 - part) * math.log(levels[low]) + part * math.log(levels[high]))


def pred_original_sample(
    output: torch.Tensor, seen: torch.Tensor, sigma: float, prediction_type: str
) -> torch.Tensor:
    """The clean latents (batch, 4, height/8, width/8) that the output means.

    `seen` is what the UNet saw: latents of variance 1 in every Diffusers class. The three
    parametrisations are those of Salimans & Ho, arXiv 2202.00512, appendix D.
    """
    alpha, noise = _parts(sigma)
    match prediction_type:
        case "epsilon":
            return (seen - noise * output) / alpha
        case "v_prediction":
            return alpha * seen - noise * output
        case "sample":
            return output
    raise ValueError(f"unknown prediction_type {prediction_type!r}")


def predicted_noise(
    output: torch.Tensor, seen: torch.Tensor, sigma: float, prediction_type: str
) -> torch.Tensor:
    """The noise of variance 1 that the output means, shaped as `predicted_x0`."""
    alpha, noise = _parts(sigma)
    match prediction_type:
        case "epsilon":
            return output
        case "v_prediction":
            return noise * seen + alpha * output
        case "sample":
            return (seen - alpha * output) / noise
    raise ValueError(f"unknown prediction_type {prediction_type!r}")


def _parts(sigma: float) -> tuple[float, float]:
    """How much of the image and of the noise is in latents of variance 1."""
    if math.isinf(sigma):
        return 0.0, 1.0
    alpha = 1 / math.sqrt(1 + sigma * sigma)
    return alpha, sigma * alpha
