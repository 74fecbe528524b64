"""Seeds, batches, events and errors of `generate_batch`."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from sdcli import engine
from sdcli.catalog.schedulers.resolve import SchedulerConfig, resolve_scheduler
from sdcli.catalog.schedulers.sampler_table import SAMPLERS
from sdcli.engine.runtime.memory import MemoryModel
from sdcli.errors import CorruptError, DeviceError, NumericsError, UsageError
from sdcli.result import StepEvent
from tests.jobs import make_job

STOCHASTIC = [
    ("DDIMScheduler", 1.0),
    ("EulerAncestralDiscreteScheduler", 0.0),
    ("LCMScheduler", 0.0),
    ("DDPMScheduler", 0.0),
]


def test_equal_seeds_give_equal_images(loaded: Any) -> None:
    first, second, other = (
        engine.generate_batch(loaded, [make_job(seed=seed)])[0].pixels for seed in (5, 5, 6)
    )
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


@pytest.mark.sample(2)
@pytest.mark.parametrize(("class_name", "eta"), STOCHASTIC)
def test_an_image_of_a_batch_equals_the_image_alone(
    loaded: Any, class_name: str, eta: float
) -> None:
    choice = SchedulerConfig(class_name=class_name)
    jobs = [
        make_job(index=i, seed=9 + i, prompt=prompt, scheduler=choice, eta=eta)
        for i, prompt in enumerate(["a cat", "a red circle", "two dogs"])
    ]
    together = engine.generate_batch(loaded, jobs, save_latents="all")
    for job, batched in zip(jobs, together, strict=True):
        [alone] = engine.generate_batch(loaded, [job], save_latents="all")
        assert alone.latents is not None
        assert batched.latents is not None
        assert np.array_equal(batched.latents["noise"], alone.latents["noise"])
        assert np.abs(batched.pixels.astype(int) - alone.pixels.astype(int)).max() <= 1
        assert batched.job == job
        assert (batched.run.batch_size, alone.run.batch_size) == (3, 1)


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    "row", [row for row in SAMPLERS if row.stochastic or row.takes_eta], ids=lambda row: row.name
)
def test_an_image_of_a_batch_gets_the_noise_that_it_gets_alone(loaded: Any, row: Any) -> None:
    """Whatever source of noise the class has. Batched kernels only change the rounding."""
    facts = {"scheduler": resolve_scheduler(row.name).choice, "scheduler_label": row.name}
    eta = 1.0 if row.takes_eta else 0.0
    jobs = [make_job(index=i, seed=9 + i, eta=eta, **facts) for i in (0, 1)]
    together = engine.generate_batch(loaded, jobs, save_latents="final")
    for job, batched in zip(jobs, together, strict=True):
        [alone] = engine.generate_batch(loaded, [job], save_latents="final")
        assert alone.latents is not None
        assert batched.latents is not None
        assert np.abs(batched.latents["final"] - alone.latents["final"]).max() < 1e-3


def test_a_batch_must_agree_in_all_but_prompts_and_seeds(loaded: Any) -> None:
    with pytest.raises(ValueError, match="share"):
        engine.generate_batch(loaded, [make_job(), make_job(eta=0.5)])


def test_no_scheduler_leaks_into_the_next_run(loaded: Any) -> None:
    """In Diffusers, Karras sigmas survive if schedulers are built from one another."""
    [before] = engine.generate_batch(loaded, [make_job()])
    karras = SchedulerConfig(
        class_name="DPMSolverMultistepScheduler", config=(("use_karras_sigmas", True),)
    )
    engine.generate_batch(loaded, [make_job(scheduler=karras)])
    [euler] = engine.generate_batch(
        loaded, [make_job(scheduler=SchedulerConfig(class_name="EulerDiscreteScheduler"))]
    )
    [after] = engine.generate_batch(loaded, [make_job()])
    assert np.array_equal(before.pixels, after.pixels)
    assert euler.run.scheduler_config["use_karras_sigmas"] is False


def test_every_step_is_reported(loaded: Any) -> None:
    events: list[StepEvent] = []
    jobs = [make_job(index=3), make_job(index=4, seed=1)]
    results = engine.generate_batch(loaded, jobs, on_step=events.append)
    assert [event.step for event in events] == [1, 2, 3, 4]
    assert {(event.job_indices, event.steps) for event in events} == {((3, 4), 4)}
    assert tuple(event.timestep for event in events) == results[0].run.timesteps
    assert set(results[0].seconds) == {"import", "load", "encode", "denoise", "decode"}


def test_a_run_by_heun_reports_its_unet_calls_as_steps(loaded: Any) -> None:
    events: list[StepEvent] = []
    job = make_job(scheduler=SchedulerConfig(class_name="HeunDiscreteScheduler"))
    [result] = engine.generate_batch(loaded, [job], on_step=events.append)
    assert len(events) == events[0].steps == len(result.run.timesteps) == 7


def test_truncated_prompts_are_reported(loaded: Any) -> None:
    [result] = engine.generate_batch(
        loaded, [make_job(prompt="cat " * 74 + "dog " * 4 + "and a pizza")]
    )
    assert any("cut off" in event and "pizza" in event for event in result.events)
    [short] = engine.generate_batch(loaded, [make_job()])
    assert short.events == ()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"scheduler": SchedulerConfig(class_name="LCMScheduler"), "num_inference_steps": 51},
         "usage.scheduler"),
        ({"scheduler": SchedulerConfig(class_name="EulerDiscreteScheduler"), "eta": 1.0},
         "usage.eta"),
        ({"scheduler": SchedulerConfig(config=(("skip_prk_steps", True),))}, "usage.scheduler"),
        ({"clip_skip": 9}, "usage.clip_skip"),
        ({"width": 60}, "usage.size"),
    ],
)  # fmt: skip
def test_options_that_diffusers_would_ignore_are_errors(
    loaded: Any, changes: dict[str, Any], code: str
) -> None:
    with pytest.raises(UsageError) as caught:
        engine.generate_batch(loaded, [make_job(**changes)])
    assert caught.value.code == code


def test_nan_in_the_unet_is_an_error_that_names_it(loaded: Any) -> None:
    # Its weights are finite: what it computes overflows.
    hook = loaded.pipeline.unet.conv_out.register_forward_hook(
        lambda *call: call[-1] * float("nan")
    )
    try:
        with pytest.raises(NumericsError, match="UNet"):
            engine.generate_batch(loaded, [make_job()])
    finally:
        hook.remove()


def test_nan_in_the_weights_is_an_error_of_the_file(loaded: Any) -> None:
    weight = loaded.pipeline.unet.conv_out.weight
    kept = weight.data.clone()
    weight.data[0] = float("nan")
    try:
        with pytest.raises(CorruptError, match=r"conv_out.weight has NaN"):
            engine.generate_batch(loaded, [make_job()])
    finally:
        weight.data.copy_(kept)


@pytest.mark.parametrize("changes", [{}, {"hires": "1.5x", "hires_strength": 0.5}], ids=str)
def test_nan_in_the_weights_of_the_vae_is_an_error_of_the_file(
    loaded: Any, changes: dict[str, Any]
) -> None:
    weight = loaded.pipeline.vae.decoder.conv_out.weight
    kept = weight.data.clone()
    weight.data[0] = float("nan")
    try:
        with pytest.raises(CorruptError, match=r"decoder.conv_out.weight has NaN"):
            engine.generate_batch(loaded, [make_job(**changes)])
    finally:
        weight.data.copy_(kept)


def test_an_interrupted_run_leaves_the_pipeline_usable(loaded: Any) -> None:
    [before] = engine.generate_batch(loaded, [make_job()])

    def interrupt(event: StepEvent) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.generate_batch(loaded, [make_job()], on_step=interrupt, save_latents="all")
    [after] = engine.generate_batch(loaded, [make_job()])
    assert np.array_equal(before.pixels, after.pixels)


class SmallDeviceUNet:
    """A UNet on a device that only has room for `images` images, each doubled by guidance."""

    def __init__(self, unet: Any, images: int) -> None:
        self._unet, self._images = unet, images

    def __getattr__(self, name: str) -> Any:
        return getattr(self._unet, name)

    def __call__(self, sample: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if sample.shape[0] > 2 * self._images:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self._unet(sample, *args, **kwargs)


def on_small_device(loaded: Any, images: int) -> Any:
    components = dict(loaded.pipeline.components)
    pipeline = type(loaded.pipeline)(**components, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    # Assigned directly: the pipeline's own __setattr__ only accepts modules.
    object.__setattr__(pipeline, "unet", SmallDeviceUNet(pipeline.unet, images))
    return replace(loaded, pipeline=pipeline, memory=MemoryModel(loaded.device))


def test_a_batch_that_does_not_fit_is_halved(loaded: Any) -> None:
    jobs = [make_job(index=i, seed=i) for i in range(4)]
    results = engine.generate_batch(on_small_device(loaded, 1), jobs)
    assert [result.job for result in results] == jobs
    assert [result.run.batch_size for result in results] == [1] * 4
    assert results[0].events == (
        "out of memory with a batch of 4, halved",
        "out of memory with a batch of 2, halved",
    )
    [alone] = engine.generate_batch(loaded, jobs[:1])
    assert np.array_equal(results[0].pixels, alone.pixels)


def test_a_failed_batch_is_freed_before_its_halves_run(loaded: Any) -> None:
    """Or its tensors would take the memory that the halves need."""
    failed: list[weakref.ref[torch.Tensor]] = []
    alive: list[bool] = []

    class Unet(SmallDeviceUNet):
        def __call__(self, sample: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            if sample.shape[0] > 2:
                failed.append(weakref.ref(sample))
            else:
                alive.append(failed[0]() is not None)
            return super().__call__(sample, *args, **kwargs)

    small = on_small_device(loaded, 1)
    object.__setattr__(small.pipeline, "unet", Unet(loaded.pipeline.unet, 1))
    engine.generate_batch(small, [make_job(index=i, seed=i) for i in range(2)])
    assert (len(failed), set(alive)) == (1, {False})


@pytest.mark.parametrize(
    ("changes", "size", "option"),
    [({}, "64x64", "--size"), ({"hires": "2x"}, "128x128", "--hires or --size")],
)
def test_an_image_that_does_not_fit_alone_is_a_device_error(
    loaded: Any, changes: dict[str, Any], size: str, option: str
) -> None:
    with pytest.raises(DeviceError) as caught:
        engine.generate_batch(on_small_device(loaded, 0), [make_job(**changes)])
    assert caught.value.code == "device.memory"
    assert caught.value.message.endswith(f"one image of {size}")
    assert f"use a smaller {option}," in str(caught.value.hint)


def test_larger_images_get_smaller_batches(loaded: Any) -> None:
    sizes = [engine.auto_batch_size(loaded, make_job(width=s, height=s)) for s in (64, 128, 1024)]
    assert sizes == [32, 8, 1]


def test_a_late_start_is_told_before_the_first_step(loaded: Any) -> None:
    told: list[str] = []
    choice = resolve_scheduler("DDIM;timestep_spacing=leading").choice
    job = make_job(scheduler=choice, num_inference_steps=1)
    [result] = engine.generate_batch(
        loaded, [job], warn=told.append, on_step=lambda event: told.append("step")
    )
    assert [text for text in told if "pure noise" in text] == told[:1]
    assert told[1:] == ["step"]
    assert told[0] in result.events


def test_a_late_start_is_told_once_on_the_command_line(run_cli: Any) -> None:
    name = "DDIM;timestep_spacing=leading"
    arguments = ("--steps", "1", "--size", "64x64", "--seed", "1", "--count", "2")
    ran = run_cli("generate", "a cat", "-s", name, *arguments)
    assert (ran.code, ran.stderr.count("pure noise")) == (0, 1)
