"""Every row of the sampler table on the embedded model, from one step to many."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from sdcli import engine
from sdcli.catalog.schedulers.resolve import resolve_scheduler
from sdcli.catalog.schedulers.sampler_table import SAMPLERS
from sdcli.engine.schedulers.build import build_scheduler
from tests.jobs import make_job

STEPS = (1, 2, 4, 12, 30)
MANY = 120


@pytest.fixture(scope="module")
def draw(loaded: Any) -> Any:
    """`draw(name, steps)` returns (last latents, UNet calls), and is cached."""
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    @cache
    def drawn(name: str, steps: int) -> tuple[np.ndarray, int]:
        nonlocal calls
        calls = 0
        selection = resolve_scheduler(name)
        job = make_job(
            scheduler=selection.choice,
            scheduler_label=selection.label,
            num_inference_steps=steps,
            guidance_scale=1.0,
        )
        [result] = engine.generate_batch(loaded, [job], save_latents="final")
        assert result.latents is not None
        return result.latents["final"], calls

    hook = loaded.pipeline.unet.register_forward_hook(count)
    yield drawn
    hook.remove()


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(np.mean((a - b) ** 2)))


@pytest.mark.sample(2)
@pytest.mark.parametrize("row", SAMPLERS, ids=lambda row: row.name)
def test_every_sampler_runs_with_few_and_many_steps(draw: Any, row: Any) -> None:
    for steps in STEPS:
        latents, calls = draw(row.name, steps)
        assert calls == row.unet_calls(steps), steps
        assert np.isfinite(latents).all(), steps
        # With 2 steps, DPM2 and Heun may leave all of the initial noise.
        limit = 5 * 14.6146 if steps == 2 else 5
        assert np.abs(latents).max() < limit, steps


DETERMINISTIC = [row for row in SAMPLERS if not row.stochastic]


@pytest.mark.sample(2)
@pytest.mark.parametrize("row", DETERMINISTIC, ids=lambda row: row.name)
def test_deterministic_samplers_converge_to_one_image(draw: Any, row: Any) -> None:
    reference, _ = draw("DPM++ 2M", MANY)
    few, more, most = (distance(draw(row.name, n)[0], reference) for n in (4, 12, 30))
    assert most < more < few
    assert most < 0.1


def run(loaded: Any, row: Any, seed: int) -> torch.Tensor:
    """Run six steps from fixed noise with a stand-in for the UNet. `seed` is for other noise."""
    choice = resolve_scheduler(row.name).choice
    scheduler = build_scheduler(loaded.base_scheduler, choice, steps=6, seeds=[seed])
    generator = torch.Generator().manual_seed(seed)
    takes = inspect.signature(scheduler.step).parameters
    # The pipeline's default for eta. That of TCD's `step` is not 0.
    more = {k: v for k, v in (("generator", generator), ("eta", 0.0)) if k in takes}
    sample = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    sample = sample * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        predicted = 0.3 * scheduler.scale_model_input(sample, t)
        sample = scheduler.step(predicted, t, sample, **more).prev_sample
    return sample


@pytest.mark.filterwarnings("ignore:Should have t[ab]:UserWarning")
@pytest.mark.parametrize("row", SAMPLERS, ids=lambda row: row.name)
def test_the_seed_changes_the_result_where_the_table_says_so(loaded: Any, row: Any) -> None:
    is_same = torch.equal(run(loaded, row, 1), run(loaded, row, 2))
    assert is_same is not row.stochastic
    assert torch.equal(run(loaded, row, 1), run(loaded, row, 1))
