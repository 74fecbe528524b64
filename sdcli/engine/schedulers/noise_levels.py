"""Compute noise levels of timesteps, and the clean latents that a UNet output predicts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from sdcli.engine.runtime.diffusers_internals import scheduler_sigmas, training_alphas


def timestep_sigmas(scheduler: Any) -> list[float]:
    """Return sigma = √((1-ᾱ)/ᾱ) at each of the scheduler's timesteps, first to last.

    A schedule with zero terminal SNR begins at infinity.
    """
    timesteps, sigmas = scheduler.timesteps, scheduler_sigmas(scheduler)
    # Classes with integer timesteps round them and keep the exact levels in `sigmas`. In the other
    # classes the timesteps are exact, while the `sigmas` of DPM2 are not one per UNet call.
    if sigmas is not None and not timesteps.is_floating_point() and len(sigmas) > len(timesteps):
        return [float(sigma) for sigma in sigmas[: len(timesteps)]]
    levels = _training_sigmas(scheduler)
    return [_interpolate(levels, float(t)) for t in timesteps.tolist()]


def _training_sigmas(scheduler: Any) -> list[float]:
    alphas = training_alphas(scheduler).double().tolist()
    return [math.sqrt((1 - a) / a) if a > 0 else math.inf for a in alphas]


def _interpolate(levels: Sequence[float], timestep: float) -> float:
    """Return the level at a fractional timestep, linear in log(sigma) as in k-diffusion."""
    low = min(max(math.floor(timestep), 0), len(levels) - 1)
    high = min(low + 1, len(levels) - 1)
    weight = timestep - low
    if not weight or low == high or math.isinf(levels[high]):
        return levels[low]
    return math.exp((1 - weight) * math.log(levels[low]) + weight * math.log(levels[high]))


def pred_original_sample(
    model_output: torch.Tensor, model_input: torch.Tensor, sigma: float, prediction_type: str
) -> torch.Tensor:
    """Return the clean latents (batch, 4, height/8, width/8) that a UNet output predicts.

    `model_input` is the UNet's input, which every Diffusers scheduler scales to variance 1.
    `prediction_type` is `epsilon`, `v_prediction` or `sample`, the parametrizations of Salimans &
    Ho, arXiv 2202.00512, appendix D. Raises ValueError for any other.
    """
    signal, noise = _signal_and_noise(sigma)
    match prediction_type:
        case "epsilon":
            return (model_input - noise * model_output) / signal
        case "v_prediction":
            return signal * model_input - noise * model_output
        case "sample":
            return model_output
    raise ValueError(f"unknown prediction_type {prediction_type!r}")


def _signal_and_noise(sigma: float) -> tuple[float, float]:
    """Return √ᾱ and √(1-ᾱ): the factors of signal and noise in latents of variance 1."""
    if math.isinf(sigma):
        return 0.0, 1.0
    signal = 1 / math.sqrt(1 + sigma * sigma)
    return signal, sigma * signal
