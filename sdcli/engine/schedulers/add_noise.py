"""The forward process: clean latents walked into noise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sdcli.checkpoints.hub import fetch_model
from sdcli.checkpoints.model_defaults import read_json
from sdcli.engine.schedulers.build import scheduler_class
from sdcli.request import PipelineSpec


def add_noise(
    spec: PipelineSpec, latents: NDArray[Any], timesteps: Sequence[int], seed: int
) -> list[NDArray[np.float32]]:
    """The latents (channels, height/8, width/8) at each trained time 1 to 1000, all with one noise.

    x_t = sqrt(ᾱ) x_0 + sqrt(1 - ᾱ) ε (Ho et al., arXiv 2006.11239, equation 4), ᾱ being that of the
    model's own scheduler; time 0 is the latents themselves.
    """
    alphas = _trained_alphas(fetch_model(spec))
    generator = torch.Generator("cpu").manual_seed(seed)
    noise = torch.randn((1, *latents.shape), generator=generator)[0].numpy()
    walked = []
    for timestep in timesteps:
        alpha = float(alphas[timestep - 1]) if timestep else 1.0
        mixed = np.sqrt(alpha) * latents + np.sqrt(1 - alpha) * noise
        walked.append(mixed.astype(np.float32))
    return walked


def _trained_alphas(folder: Path) -> NDArray[np.float64]:
    """How much of the picture is left at each trained time."""
    config = read_json(folder / "scheduler" / "scheduler_config.json")
    scheduler = scheduler_class(str(config.get("_class_name"))).from_config(config)
    alphas: NDArray[np.float64] = scheduler.alphas_cumprod.double().numpy()
    return alphas
