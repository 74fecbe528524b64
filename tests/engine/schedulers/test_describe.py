"""Tables of timesteps and noise levels agree with the schedulers that they describe."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from sdcli.catalog.schedulers.resolve import resolve_scheduler
from sdcli.catalog.schedulers.sampler_table import SAMPLERS
from sdcli.engine.schedulers.build import scheduler_class
from sdcli.engine.schedulers.describe import public_config, run_sigmas, timestep_table, timesteps

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Should have t[ab]:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*algorithm_type:FutureWarning"),
]

BASE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "prediction_type": "v_prediction",
}
by_row = pytest.mark.parametrize("row", SAMPLERS, ids=lambda row: row.name)


def build(row: Any, **options: Any) -> Any:
    config = {**BASE, **dict(resolve_scheduler(row.name).choice.config), **options}
    return scheduler_class(row.class_name).from_config(config)


@pytest.mark.sample(12)
@by_row
def test_a_table_has_one_row_per_unet_call_and_its_noise_decreases(row: Any) -> None:
    rows, last = timestep_table(resolve_scheduler(row.name).choice, 5)
    assert len(rows) == row.unet_calls(5)
    levels = [sigma for _, sigma in rows]
    # Heun and PLMS return to a level for the second call of a step.
    assert levels[0] == max(levels)
    assert levels[-1] > last >= 0 or levels[-1] == last
    assert sorted((t for t, _ in rows), reverse=True)[0] == rows[0][0]


@by_row
def test_the_last_sigma_is_the_noise_that_the_last_step_leaves(row: Any) -> None:
    """Of latents whose signal is 3 and whose noise is 1, under a UNet that separates the two."""
    _, last = timestep_table(resolve_scheduler(row.name).choice, 5)
    cls = scheduler_class(row.class_name)
    # The last step of PLMS also uses the outputs of earlier steps.
    if hasattr(cls(), "sigmas") or row.name == "PLMS":
        assert last == pytest.approx(0.0292, abs=1e-4) if last else last == 0
        return
    scheduler = build(row, prediction_type="epsilon")
    scheduler.set_timesteps(5)
    t = scheduler.timesteps[-1]
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(4)
    alpha = scheduler.alphas_cumprod[int(t)]
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    eta = {"eta": 0.0} if row.takes_eta else {}
    latents = 3 * alpha**0.5 + (1 - alpha) ** 0.5 * noise
    end = scheduler.step(noise, t, latents, **eta).prev_sample
    signal = end.mean() / 3
    assert float(end.std() / noise.std() / signal) == pytest.approx(last, abs=2e-3)


@by_row
def test_a_configuration_is_json_without_hidden_entries(row: Any) -> None:
    config = public_config(build(row))
    assert json.dumps(config, allow_nan=False)
    assert not [key for key in config if key.startswith("_")]


def test_arrays_and_infinities_become_json() -> None:
    ddim = scheduler_class("DDIMScheduler")(trained_betas=np.array([0.1, 0.2]))
    assert public_config(ddim)["trained_betas"] == pytest.approx([0.1, 0.2])
    solver = scheduler_class("DPMSolverMultistepScheduler")()
    assert public_config(solver)["lambda_min_clipped"] == "-inf"


@by_row
def test_timesteps_and_sigmas_are_numbers_of_the_scheduler(row: Any) -> None:
    scheduler = build(row)
    scheduler.set_timesteps(5)
    assert timesteps(scheduler) == tuple(scheduler.timesteps.tolist())
    levels = run_sigmas(scheduler, 0)
    if levels is not None:
        assert levels == tuple(scheduler.sigmas.tolist())
        assert len(levels) > len(timesteps(scheduler))
