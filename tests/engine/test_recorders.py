"""Recording changes no bit of the image, and the last latents are the image."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
import torch

from sdcli import engine
from sdcli.catalog.schedulers import SchedulerChoice
from sdcli.engine.decode import decode
from tests.jobs import make_job


@pytest.mark.parametrize("which", ["final", "all"])
@pytest.mark.parametrize("class_name", ["DDIMScheduler", "EulerAncestralDiscreteScheduler"])
def test_recording_changes_nothing(
    loaded: Any, which: Literal["final", "all"], class_name: str
) -> None:
    job = make_job(scheduler=SchedulerChoice(class_name=class_name))
    [plain] = engine.generate(loaded, [job])
    [recorded] = engine.generate(loaded, [job], save_latents=which)
    assert np.array_equal(plain.pixels, recorded.pixels)
    assert plain.latents is None


def test_the_last_latents_decode_to_the_image(loaded: Any) -> None:
    [result] = engine.generate(loaded, [make_job()], save_latents="final")
    assert result.latents is not None
    assert set(result.latents) == {"final"}
    final = result.latents["final"]
    assert (final.shape, final.dtype) == ((4, 8, 8), np.float32)
    pixels, _ = decode(loaded.pipeline, torch.from_numpy(final)[None])
    assert np.array_equal(pixels[0], result.pixels)


def test_all_latents_go_from_the_noise_of_the_seed_to_the_last(loaded: Any) -> None:
    [result] = engine.generate(loaded, [make_job()], save_latents="all")
    assert result.latents is not None
    assert list(result.latents) == ["step_0000", "final", *(f"step_000{i}" for i in range(1, 5))]
    noise = torch.randn((1, 4, 8, 8), generator=torch.Generator("cpu").manual_seed(7))
    assert np.array_equal(result.latents["step_0000"], noise[0].numpy())
    assert np.array_equal(result.latents["step_0004"], result.latents["final"])
    assert not np.array_equal(result.latents["step_0001"], result.latents["step_0002"])
