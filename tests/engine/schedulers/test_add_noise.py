"""Adding noise equals `scheduler.add_noise` of Diffusers."""

from __future__ import annotations

import diffusers
import numpy as np
import torch

from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.engine.schedulers.add_noise import add_noise
from tests.jobs import CPU

LATENTS = np.random.default_rng(0).standard_normal((4, 8, 8)).astype(np.float32)


def test_latents_are_those_of_diffusers_at_every_timestep() -> None:
    scheduler = diffusers.DDIMScheduler.from_pretrained(EMBEDDED_FOLDER, subfolder="scheduler")
    noise = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(5))
    times = [1, 17, 500, 1000]
    for time, noisy in zip(times, add_noise(CPU, LATENTS, times, seed=5), strict=True):
        expected = scheduler.add_noise(
            torch.from_numpy(LATENTS)[None], noise, torch.tensor([time - 1])
        )
        assert np.allclose(noisy, expected[0].numpy(), atol=1e-6)
        assert noisy.dtype == np.float32


def test_time_zero_is_the_latents_themselves() -> None:
    [unchanged] = add_noise(CPU, LATENTS, [0], seed=1)
    assert np.array_equal(unchanged, LATENTS)


def test_all_times_share_the_noise_of_their_seed() -> None:
    first, again = add_noise(CPU, LATENTS, [999, 999], seed=1)
    [other] = add_noise(CPU, LATENTS, [999], seed=2)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    # Near the end of the schedule, the noise is almost all that is left.
    assert np.corrcoef(first.ravel(), add_noise(CPU, LATENTS, [900], seed=1)[0].ravel())[0, 1] > 0.9
