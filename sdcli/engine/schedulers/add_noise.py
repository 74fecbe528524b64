"""Add noise to clean latents: the forward process of diffusion."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sdcli.checkpoints.hub import fetch_model
from sdcli.engine.runtime.diffusers_internals import training_alphas
from sdcli.engine.schedulers.build import load_scheduler
from sdcli.pipeline_spec import PipelineSpec


def add_noise(
    spec: PipelineSpec, latents: NDArray[Any], timesteps: Sequence[int], seed: int
) -> list[NDArray[np.float32]]:
    """Return the latents (channels, height/8, width/8) at each of the trained times.

    x_t = √ᾱ x_0 + √(1-ᾱ) ε (Ho et al., arXiv 2006.11239, equation 4), with the ᾱ of the model's own
    scheduler, and the same ε, drawn from `seed`, for all. Times are 1 to 1000; time 0 returns the
    latents unchanged.
    """
    alphas = _read_alphas(fetch_model(spec))
    generator = torch.Generator("cpu").manual_seed(seed)
    # The shape of a batch of one, as a pipeline would draw it from this seed.
    noise = torch.randn((1, *latents.shape), generator=generator)[0].numpy()
    noisy = []
    for timestep in timesteps:
        alpha = float(alphas[timestep - 1]) if timestep else 1.0
        mixed = np.sqrt(alpha) * latents + np.sqrt(1 - alpha) * noise
        noisy.append(mixed.astype(np.float32))
    return noisy


def _read_alphas(folder: Path) -> NDArray[np.float64]:
    """Return ᾱ at each training timestep of the model in `folder`."""
    alphas: NDArray[np.float64] = training_alphas(load_scheduler(folder)).double().numpy()
    return alphas
