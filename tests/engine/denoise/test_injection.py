"""A run resumes from any of its steps, and any scheduler resumes from another's latents."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sdcli import engine
from sdcli.catalog.schedulers.resolve import SchedulerConfig
from sdcli.catalog.schedulers.sampler_table import SAMPLERS
from sdcli.catalog.schedulers.sampler_types import Sampler
from sdcli.engine.denoise.injection import nearest_step, scale_model_input_at
from sdcli.engine.schedulers.build import build_scheduler
from sdcli.errors import NumericsError, UsageError
from sdcli.latents import ResumePoint
from tests.engine.sampler_jobs import STEPS, make_sampler_job
from tests.jobs import make_job

pytestmark = pytest.mark.filterwarnings("ignore:Should have ta:UserWarning")
by_row = pytest.mark.parametrize("row", SAMPLERS, ids=lambda row: row.name)


@contextmanager
def counting_calls(unet: Any) -> Iterator[list[int]]:
    """A list that grows by one with each real call of the UNet."""
    calls: list[int] = []
    hook = unet.conv_in.register_forward_hook(lambda *_: calls.append(1))
    try:
        yield calls
    finally:
        hook.remove()


@pytest.mark.sample(2)
@by_row
def test_replaying_outputs_resumes_from_every_step_bit_for_bit(loaded: Any, row: Sampler) -> None:
    job = make_sampler_job(row)
    [whole] = engine.generate_batch(loaded, [job], save_latents="all")
    latents = whole.latents
    assert latents is not None
    unet_calls = row.unet_calls(STEPS)
    with counting_calls(loaded.pipeline.unet) as calls:
        for step in range(unet_calls):
            outputs = tuple(latents[f"eps_{i:04d}"] for i in range(1, step + 1))
            start = ResumePoint(outputs=outputs, noise=latents["noise"])
            [resumed] = engine.generate_batch(loaded, [job], start=start)
            assert np.array_equal(resumed.pixels, whole.pixels), step
    # The UNet is called only for the steps that remain.
    assert len(calls) == sum(range(1, unet_calls + 1))


@pytest.mark.sample(4)
@by_row
def test_latents_alone_are_enough_where_the_table_says_so(loaded: Any, row: Sampler) -> None:
    job = make_sampler_job(row, eta=0.0)
    [whole] = engine.generate_batch(loaded, [job], save_latents="all")
    assert whole.latents is not None
    exact = []
    for step in (2, 3):  # before and between the two UNet calls of a step of DPM2
        start = ResumePoint(latents=whole.latents[f"xt_{step:04d}"], step=step)
        try:
            [resumed] = engine.generate_batch(loaded, [job], start=start)
        except NumericsError:  # between the two calls
            exact.append(False)
        else:
            exact.append(np.array_equal(resumed.pixels, whole.pixels))
    assert all(exact) is row.resumes_from_latents


def test_another_prompt_from_a_step_on_gives_another_image(loaded: Any) -> None:
    [cat] = engine.generate_batch(loaded, [make_job()], save_latents="all")
    assert cat.latents is not None
    star = make_job(prompt="a red star")
    [whole] = engine.generate_batch(loaded, [star])
    outputs = (cat.latents["eps_0001"], cat.latents["eps_0002"])
    [mixed] = engine.generate_batch(loaded, [star], start=ResumePoint(outputs=outputs))
    assert not np.array_equal(mixed.pixels, cat.pixels)
    assert not np.array_equal(mixed.pixels, whole.pixels)


@pytest.fixture(scope="module")
def halfway(loaded: Any) -> tuple[ResumePoint, np.ndarray]:
    """The middle of a run by DDIM of 8 steps, and its last latents."""
    ddim = SchedulerConfig(class_name="DDIMScheduler")
    job = make_job(num_inference_steps=8, scheduler=ddim)
    [whole] = engine.generate_batch(loaded, [job], save_latents="all")
    assert whole.latents is not None
    x0, xt = whole.latents["x0_0004"], whole.latents["xt_0004"]
    alpha = float(loaded.base_scheduler.alphas_cumprod[int(whole.run.timesteps[4])])
    sigma = ((1 - alpha) / alpha) ** 0.5
    direction = (xt / alpha**0.5 - x0) / sigma
    return ResumePoint(latents=xt, direction=direction, sigma=sigma), whole.latents["final"]


@pytest.mark.sample(9)
@by_row
def test_any_scheduler_resumes_from_the_latents_of_another(
    loaded: Any, row: Sampler, halfway: tuple[ResumePoint, np.ndarray]
) -> None:
    """The result is the same image, and not noise."""
    start, end = halfway
    job = make_sampler_job(row, num_inference_steps=8, eta=0.0)
    [result] = engine.generate_batch(loaded, [job], save_latents="final", start=start)
    assert result.latents is not None
    distance = np.sqrt(((result.latents["final"] - end) ** 2).mean())
    assert distance < 0.8, distance


def test_latents_without_a_direction_need_a_step_of_their_noise_level(loaded: Any) -> None:
    start = ResumePoint(latents=np.zeros((4, 8, 8), np.float32), sigma=1.2345)
    with pytest.raises(UsageError, match=r"noise level 1\.23") as caught:
        engine.generate_batch(loaded, [make_job()], start=start)
    assert caught.value.code == "latents.level"


@given(
    st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=40, unique=True),
    st.floats(1e-3, 1e3),
    st.booleans(),
)
def test_no_step_is_nearer_than_the_nearest(sigmas: list[float], sigma: float, pairs: bool) -> None:
    step = nearest_step(sigmas, sigma, pairs=pairs)
    allowed = range(0, len(sigmas), 2 if pairs else 1)
    assert step in allowed
    distances = [abs(math.log(sigmas[i] / sigma)) for i in allowed]
    assert abs(math.log(sigmas[step] / sigma)) == min(distances)


@by_row
def test_scaling_at_a_step_leaves_the_scheduler_alone(loaded: Any, row: Sampler) -> None:
    """And gives what the scheduler itself returns when it gets there."""
    choice = make_sampler_job(row).scheduler
    build = {"steps": STEPS, "seeds": [1]}
    scheduler = build_scheduler(loaded.base_scheduler, choice, **build)
    untouched = build_scheduler(loaded.base_scheduler, choice, **build)
    latents = torch.ones(1, 4, 2, 2)
    scaled = scale_model_input_at(scheduler, latents, 2)
    if hasattr(scheduler, "set_begin_index"):
        assert scheduler.begin_index is None
        untouched.set_begin_index(2)
    assert torch.equal(scaled, untouched.scale_model_input(latents, untouched.timesteps[2]))
