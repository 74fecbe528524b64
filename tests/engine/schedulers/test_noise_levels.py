"""Noise levels of timesteps, and predictions of the clean latents from them."""

from __future__ import annotations

import math
from typing import Any

import diffusers
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sdcli.engine.schedulers.noise_levels import pred_original_sample, timestep_sigmas

CONFIG = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def build(cls: Any, steps: int = 7, **options: Any) -> Any:
    scheduler = cls(**CONFIG, **options)
    scheduler.set_timesteps(steps)
    return scheduler


@pytest.mark.parametrize(
    "cls",
    [
        diffusers.EulerDiscreteScheduler,
        diffusers.EulerAncestralDiscreteScheduler,
        diffusers.LMSDiscreteScheduler,
        diffusers.HeunDiscreteScheduler,
        diffusers.DPMSolverMultistepScheduler,
        diffusers.UniPCMultistepScheduler,
    ],
)
@pytest.mark.parametrize("karras", [False, True])
def test_sigmas_are_those_that_the_scheduler_keeps(cls: Any, karras: bool) -> None:
    """Also where they are computed from the timesteps."""
    options = (
        {} if cls is diffusers.EulerAncestralDiscreteScheduler else {"use_karras_sigmas": karras}
    )
    scheduler = build(cls, **options)
    sigmas = timestep_sigmas(scheduler)
    assert len(sigmas) == len(scheduler.timesteps)
    assert sigmas == pytest.approx(scheduler.sigmas[: len(sigmas)].tolist(), rel=2e-3)


@given(st.integers(2, 999))
def test_integer_timesteps_are_the_training_levels(steps: int) -> None:
    scheduler = build(diffusers.DDIMScheduler, steps)
    for sigma, timestep in zip(timestep_sigmas(scheduler), scheduler.timesteps, strict=True):
        alpha = scheduler.alphas_cumprod[timestep].double().item()
        assert sigma == pytest.approx(math.sqrt((1 - alpha) / alpha))


def test_a_zero_terminal_snr_begins_at_infinity() -> None:
    options = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    sigmas = timestep_sigmas(build(diffusers.DDIMScheduler, **options))
    assert math.isinf(sigmas[0])
    assert all(math.isfinite(sigma) for sigma in sigmas[1:])
    assert sigmas == sorted(sigmas, reverse=True)


@given(st.floats(0.01, 100), st.integers(0, 2**32 - 1))
def test_every_parametrization_gives_back_the_clean_latents(sigma: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x0, noise = torch.randn((2, 1, 4, 2, 2), generator=generator, dtype=torch.float64)
    signal, level = 1 / math.hypot(1, sigma), sigma / math.hypot(1, sigma)
    model_input = signal * x0 + level * noise
    outputs = {"epsilon": noise, "v_prediction": signal * noise - level * x0, "sample": x0}
    for prediction_type, output in outputs.items():
        predicted = pred_original_sample(output, model_input, sigma, prediction_type)
        assert torch.allclose(predicted, x0, atol=1e-9), prediction_type


def test_pure_noise_has_a_prediction_from_velocity() -> None:
    velocity, noise = torch.full((1, 4, 2, 2), 3.0), torch.ones(1, 4, 2, 2)
    predicted = pred_original_sample(velocity, noise, math.inf, "v_prediction")
    assert torch.equal(predicted, -velocity)


def test_an_unknown_prediction_type_is_an_error() -> None:
    tensor = torch.zeros(1)
    with pytest.raises(ValueError, match="flow"):
        pred_original_sample(tensor, tensor, 1.0, "flow")
