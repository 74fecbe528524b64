"""Recording changes no bit of the image, tells the truth, and is enough to go on from any step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch

from sdcli import engine
from sdcli.catalog.schedulers.entries import Sampler
from sdcli.catalog.schedulers.resolve import SchedulerConfig, resolve_scheduler
from sdcli.catalog.schedulers.samplers import SAMPLERS
from sdcli.engine.vae.decode import decode_latents
from sdcli.errors import NumericsError, UsageError
from sdcli.latents import LatentsSelection, ResumePoint
from tests.jobs import make_job

pytestmark = pytest.mark.filterwarnings("ignore:Should have ta:UserWarning")

ROWS = [
    pytest.param(
        row,
        id=row.name,
        marks=pytest.mark.skipif(
            row.package is not None and find_spec(row.package) is None,
            reason=f"needs {row.package}",
        ),
    )
    for row in SAMPLERS
]
STEPS = 5  # enough for the history of a third-order multistep to matter


def job_of(row: Sampler, **changes: Any) -> Any:
    """A job under the row as A1111 would schedule it, with all the chance it can have."""
    name = f"{row.name} {row.automatic}" if row.automatic != "Normal" else row.name
    selection = resolve_scheduler(name)
    eta = 1.0 if row.takes_eta else 0.0
    facts = {"scheduler": selection.choice, "scheduler_label": selection.label, "eta": eta}
    return make_job(**{"num_inference_steps": STEPS, **facts, **changes})


@contextmanager
def counted(unet: Any) -> Iterator[list[int]]:
    """Within, the list grows by one a real UNet call."""
    asked: list[int] = []
    hook = unet.conv_in.register_forward_hook(lambda *_: asked.append(1))
    try:
        yield asked
    finally:
        hook.remove()


@pytest.mark.parametrize("row", ROWS)
def test_recording_changes_nothing_and_every_step_can_be_gone_on_from(
    loaded: Any, row: Sampler
) -> None:
    job = job_of(row)
    [plain] = engine.generate_batch(loaded, [job])
    [recorded] = engine.generate_batch(loaded, [job], save_latents="all")
    assert np.array_equal(plain.pixels, recorded.pixels)
    latents = recorded.latents
    assert latents is not None
    calls = row.unet_calls(STEPS)
    with counted(loaded.pipeline.unet) as asked:
        for step in range(calls):
            said = tuple(latents[f"eps_{i:04d}"] for i in range(1, step + 1))
            start = ResumePoint(outputs=said, noise=latents["noise"])
            [again] = engine.generate_batch(loaded, [job], start=start)
            assert np.array_equal(again.pixels, plain.pixels), step
    assert len(asked) == sum(range(1, calls + 1))  # only for what is left


@pytest.mark.parametrize("row", ROWS)
def test_latents_alone_are_enough_where_the_table_says_so(loaded: Any, row: Sampler) -> None:
    job = job_of(row, eta=0.0)
    [whole] = engine.generate_batch(loaded, [job], save_latents="all")
    assert whole.latents is not None
    exact = []
    for step in (2, 3):  # both of the two calls that DPM2 makes a step
        start = ResumePoint(latents=whole.latents[f"xt_{step:04d}"], step=step)
        try:
            [again] = engine.generate_batch(loaded, [job], start=start)
        except NumericsError:  # in the middle of such a pair
            exact.append(False)
        else:
            exact.append(np.array_equal(again.pixels, whole.pixels))
    assert all(exact) is row.resumes_from_latents


def test_another_prompt_from_a_step_on_is_another_picture(loaded: Any) -> None:
    job = make_job()
    [cat] = engine.generate_batch(loaded, [job], save_latents="all")
    assert cat.latents is not None
    dog = make_job(prompt="a red star")
    [whole] = engine.generate_batch(loaded, [dog])
    outputs = (cat.latents["eps_0001"], cat.latents["eps_0002"])
    [mixed] = engine.generate_batch(loaded, [dog], start=ResumePoint(outputs=outputs))
    assert not np.array_equal(mixed.pixels, cat.pixels)
    assert not np.array_equal(mixed.pixels, whole.pixels)


@pytest.mark.parametrize("row", ROWS)
def test_the_predicted_x0_is_the_schedulers_own(loaded: Any, row: Sampler) -> None:
    """Where a class tells its x_0; DPM2 rounds the timestep of its middle, by under 2e-3."""
    from sdcli.engine.recorders.patching import patch_method

    own: list[Any] = []

    def listen(original: Any, *args: Any, **kwargs: Any) -> Any:
        said = original(*args, **{**kwargs, "return_dict": True})
        own.append(getattr(said, "pred_original_sample", getattr(said, "denoised", None)))
        return (said.prev_sample,)

    from sdcli.engine.schedulers.build import build_scheduler as build

    with pytest.MonkeyPatch.context() as patch:

        def listening(*args: Any, **kwargs: Any) -> Any:
            scheduler = build(*args, **kwargs)
            patch_method(scheduler, "step", listen).__enter__()
            return scheduler

        patch.setattr("sdcli.engine.denoise.generate.build_scheduler", listening)
        [recorded] = engine.generate_batch(loaded, [job_of(row)], save_latents="all")
    assert recorded.latents is not None
    for step, said in enumerate(own, 1):
        if said is not None:
            found = recorded.latents[f"x0_{step:04d}"]
            assert np.abs(found - said[0].numpy()).max() < 2e-3


def test_the_last_latents_decode_to_the_image(loaded: Any) -> None:
    [result] = engine.generate_batch(loaded, [make_job()], save_latents="final")
    assert result.latents is not None
    assert set(result.latents) == {"final"}
    final = result.latents["final"]
    assert (final.shape, final.dtype) == ((4, 8, 8), np.float32)
    pixels, _ = decode_latents(loaded.pipeline, torch.from_numpy(final)[None])
    assert np.array_equal(pixels[0], result.pixels)


def test_all_is_every_step_from_the_noise_of_the_seed_to_the_last(loaded: Any) -> None:
    [result] = engine.generate_batch(loaded, [make_job()], save_latents="all")
    assert result.latents is not None
    assert list(result.latents) == LatentsSelection.parse("all").tensor_names(4)
    noise = torch.randn((1, 4, 8, 8), generator=torch.Generator("cpu").manual_seed(7))
    assert np.array_equal(result.latents["noise"], noise[0].numpy())
    assert not np.array_equal(result.latents["xt_0001"], result.latents["xt_0002"])


def test_the_scheduler_and_the_unet_are_as_before(loaded: Any) -> None:
    engine.generate_batch(loaded, [make_job()], save_latents="all", start=ResumePoint(outputs=()))
    for part in (loaded.pipeline.scheduler, loaded.pipeline.unet):
        assert not {"step", "scale_model_input", "forward"} & set(vars(part))


def test_each_image_of_a_batch_has_its_own(loaded: Any) -> None:
    jobs = [make_job(index=i, seed=i) for i in (0, 1)]
    together = engine.generate_batch(loaded, jobs, save_latents="all")
    for job, result in zip(jobs, together, strict=True):
        [alone] = engine.generate_batch(loaded, [job], save_latents="all")
        assert alone.latents is not None
        assert result.latents is not None
        for name, array in alone.latents.items():
            assert np.allclose(result.latents[name], array, atol=1e-3), name


def test_a_step_that_the_run_lacks_is_refused_before_it(loaded: Any) -> None:
    with pytest.raises(UsageError, match="no step 5"):
        engine.generate_batch(loaded, [make_job()], save_latents="steps:5")


@pytest.fixture(scope="module")
def halfway(loaded: Any) -> tuple[ResumePoint, np.ndarray]:
    """A run by DDIM of 8 steps: where it was after 4, and its end."""
    ddim = SchedulerConfig(class_name="DDIMScheduler")
    job = make_job(num_inference_steps=8, scheduler=ddim)
    [whole] = engine.generate_batch(loaded, [job], save_latents="all")
    assert whole.latents is not None
    x0, xt = whole.latents["x0_0004"], whole.latents["xt_0004"]
    alpha = float(loaded.base_scheduler.alphas_cumprod[int(whole.run.timesteps[4])])
    sigma = ((1 - alpha) / alpha) ** 0.5
    direction = (xt / alpha**0.5 - x0) / sigma
    return ResumePoint(latents=xt, direction=direction, sigma=sigma), whole.latents["final"]


@pytest.mark.parametrize("row", ROWS)
def test_any_scheduler_takes_up_the_latents_of_another(
    loaded: Any, row: Sampler, halfway: tuple[ResumePoint, np.ndarray]
) -> None:
    """Still the same picture, and not noise."""
    start, end = halfway
    job = job_of(row, num_inference_steps=8, eta=0.0)
    [result] = engine.generate_batch(loaded, [job], save_latents="final", start=start)
    assert result.latents is not None
    distance = np.sqrt(((result.latents["final"] - end) ** 2).mean())
    assert distance < 0.8, distance
