"""Every row of the sampler table on the embedded model, from one step to many."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from sdcli import engine
from sdcli.catalog.samplers import SAMPLERS
from sdcli.catalog.schedulers import resolve
from tests.jobs import make_job

STEPS = (1, 2, 4, 12, 30)
MANY = 120


@pytest.fixture(scope="module")
def draw(loaded: Any) -> Any:
    """`draw(name, steps)` to (last latents, UNet calls), each drawn once."""
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    @cache
    def drawn(name: str, steps: int) -> tuple[np.ndarray, int]:
        nonlocal calls
        calls = 0
        selection = resolve(name)
        job = make_job(
            scheduler=selection.choice,
            scheduler_label=selection.label,
            num_inference_steps=steps,
            guidance_scale=1.0,
        )
        [result] = engine.generate(loaded, [job], save_latents="final")
        assert result.latents is not None
        return result.latents["final"], calls

    hook = loaded.pipeline.unet.register_forward_hook(count)
    yield drawn
    hook.remove()


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(np.mean((a - b) ** 2)))


@pytest.mark.parametrize("row", SAMPLERS, ids=lambda row: row.name)
def test_every_row_runs_at_every_length(draw: Any, row: Any) -> None:
    for steps in STEPS:
        latents, calls = draw(row.name, steps)
        assert calls == row.unet_calls(steps), steps
        assert np.isfinite(latents).all(), steps
        assert np.abs(latents).max() < 100, steps


DETERMINISTIC = [row for row in SAMPLERS if not row.stochastic]


@pytest.mark.parametrize("row", DETERMINISTIC, ids=lambda row: row.name)
def test_deterministic_rows_go_to_one_picture(draw: Any, row: Any) -> None:
    reference, _ = draw("DPM++ 2M", MANY)
    few, more, most = (distance(draw(row.name, n)[0], reference) for n in (4, 12, 30))
    assert most < more < few
    assert most < 0.1


def test_stochastic_rows_go_to_pictures_of_their_own(draw: Any) -> None:
    reference, _ = draw("DPM++ 2M", MANY)
    for row in SAMPLERS:
        if row.stochastic and row.max_steps > 50:
            assert distance(draw(row.name, 30)[0], reference) > 0.03, row.name
