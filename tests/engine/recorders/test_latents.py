"""Recording changes no bit of the image, and records the tensors of the run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sdcli import engine
from sdcli.catalog.schedulers.sampler_table import SAMPLERS
from sdcli.catalog.schedulers.sampler_types import Sampler
from sdcli.engine.recorders.patching import patch_method
from sdcli.engine.schedulers.build import build_scheduler
from sdcli.engine.vae.decode import decode_latents
from sdcli.errors import UsageError
from sdcli.latents import LatentsSelection, ResumePoint
from tests.engine.sampler_jobs import make_sampler_job
from tests.jobs import make_job

pytestmark = pytest.mark.filterwarnings("ignore:Should have ta:UserWarning")
by_row = pytest.mark.parametrize("row", SAMPLERS, ids=lambda row: row.name)


@pytest.mark.sample(3)
@by_row
def test_recording_does_not_change_the_image(loaded: Any, row: Sampler) -> None:
    job = make_sampler_job(row)
    [plain] = engine.generate_batch(loaded, [job])
    [recorded] = engine.generate_batch(loaded, [job], save_latents="all")
    assert np.array_equal(plain.pixels, recorded.pixels)


@pytest.mark.sample(4)
@by_row
def test_the_predicted_x0_is_that_of_the_scheduler(loaded: Any, row: Sampler) -> None:
    """If its class returns one. DPM2 rounds the timestep of its midpoint, which costs < 2e-3."""
    predictions: list[Any] = []

    def record(original: Any, *args: Any, **kwargs: Any) -> Any:
        output = original(*args, **{**kwargs, "return_dict": True})
        denoised = getattr(output, "denoised", None)
        predictions.append(getattr(output, "pred_original_sample", denoised))
        return (output.prev_sample,)

    def build_recording(*args: Any, **kwargs: Any) -> Any:
        scheduler = build_scheduler(*args, **kwargs)
        patch_method(scheduler, "step", record).__enter__()
        return scheduler

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sdcli.engine.schedulers.job_scheduler.build_scheduler", build_recording)
        [result] = engine.generate_batch(loaded, [make_sampler_job(row)], save_latents="all")
    assert result.latents is not None
    for step, prediction in enumerate(predictions, 1):
        if prediction is not None:
            recorded = result.latents[f"x0_{step:04d}"]
            assert np.abs(recorded - prediction[0].numpy()).max() < 2e-3


def test_the_last_latents_decode_to_the_image(loaded: Any) -> None:
    [result] = engine.generate_batch(loaded, [make_job()], save_latents="final")
    assert result.latents is not None
    assert set(result.latents) == {"final"}
    final = result.latents["final"]
    assert (final.shape, final.dtype) == ((4, 8, 8), np.float32)
    pixels, _ = decode_latents(loaded.pipeline, torch.from_numpy(final)[None])
    assert np.array_equal(pixels[0], result.pixels)


def test_all_latents_run_from_the_noise_of_the_seed_to_the_last_step(loaded: Any) -> None:
    [result] = engine.generate_batch(loaded, [make_job()], save_latents="all")
    assert result.latents is not None
    assert list(result.latents) == LatentsSelection.parse("all").tensor_names(4)
    noise = torch.randn((1, 4, 8, 8), generator=torch.Generator("cpu").manual_seed(7))
    assert np.array_equal(result.latents["noise"], noise[0].numpy())
    assert not np.array_equal(result.latents["xt_0001"], result.latents["xt_0002"])


@pytest.mark.parametrize("selection", ["final", "every:2", "steps:1,3"])
def test_a_selection_has_exactly_its_tensors_with_the_values_of_all(
    loaded: Any, selection: str
) -> None:
    [whole] = engine.generate_batch(loaded, [make_job()], save_latents="all")
    [part] = engine.generate_batch(loaded, [make_job()], save_latents=selection)
    assert whole.latents is not None
    assert part.latents is not None
    assert list(part.latents) == LatentsSelection.parse(selection).tensor_names(4)
    for name, array in part.latents.items():
        assert np.array_equal(array, whole.latents[name]), name


def test_the_scheduler_and_the_unet_are_restored(loaded: Any) -> None:
    engine.generate_batch(loaded, [make_job()], save_latents="all", start=ResumePoint(outputs=()))
    for component in (loaded.pipeline.scheduler, loaded.pipeline.unet):
        assert not {"step", "scale_model_input", "forward"} & set(vars(component))


def test_each_image_of_a_batch_has_its_own_latents(loaded: Any) -> None:
    jobs = [make_job(index=i, seed=i) for i in (0, 1)]
    together = engine.generate_batch(loaded, jobs, save_latents="all")
    for job, result in zip(jobs, together, strict=True):
        [alone] = engine.generate_batch(loaded, [job], save_latents="all")
        assert alone.latents is not None
        assert result.latents is not None
        for name, array in alone.latents.items():
            assert np.allclose(result.latents[name], array, atol=1e-3), name


def test_a_step_that_the_run_does_not_have_is_an_error(loaded: Any) -> None:
    with pytest.raises(UsageError, match="no step 5"):
        engine.generate_batch(loaded, [make_job()], save_latents="steps:5")
