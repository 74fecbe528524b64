"""Every row of the sampler table started from an image, at low, middle and full strength."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sdcli import engine
from sdcli.catalog.schedulers.resolve import SchedulerConfig, resolve_scheduler
from sdcli.catalog.schedulers.sampler_table import SAMPLERS
from sdcli.engine.schedulers.build import build_scheduler
from sdcli.engine.schedulers.late_start import skipped_calls, start_late
from sdcli.errors import UsageError
from sdcli.input_images import InputPixels
from sdcli.job import Job
from tests.engine.input_jobs import image_job
from tests.jobs import make_job

PROMPT = "a cat and a guitar"
SIZE = {"width": 128, "height": 128}
STRENGTHS = (0.1, 0.5, 1.0)
STEPS = 10
LARGEST_GAP = 6.0  # rms of 255, between a run of few steps and one of many


def sampler_job(name: str, strength: float, steps: int) -> Job:
    selection = resolve_scheduler(name)
    return image_job(
        prompt=PROMPT,
        scheduler=selection.choice,
        scheduler_label=selection.label,
        num_inference_steps=steps,
        guidance_scale=1.0,
        strength=strength,
        **SIZE,
    )


@pytest.fixture(scope="module")
def source(loaded: Any) -> InputPixels:
    choice = resolve_scheduler("DPM++ 2M").choice
    job = make_job(prompt=PROMPT, scheduler=choice, num_inference_steps=20, seed=11, **SIZE)
    [result] = engine.generate_batch(loaded, [job])
    return InputPixels(image=result.pixels)


@pytest.fixture(scope="module")
def references(loaded: Any, source: InputPixels) -> dict[float, np.ndarray]:
    """Runs of many steps from the same seed, by strength."""
    jobs = {strength: sampler_job("DPM++ 2M", strength, 60) for strength in STRENGTHS}
    return {
        strength: engine.generate_batch(loaded, [job], inputs=source)[0].pixels
        for strength, job in jobs.items()
    }


def rms(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(np.mean((a.astype(float) - b.astype(float)) ** 2)))


@pytest.mark.sample(4)
@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("row", SAMPLERS, ids=lambda row: row.name)
def test_every_sampler_starts_from_an_image(
    loaded: Any,
    source: InputPixels,
    references: dict[float, np.ndarray],
    row: Any,
    strength: float,
) -> None:
    calls: list[object] = []
    hook = loaded.pipeline.unet.register_forward_hook(lambda *_: calls.append(None))
    job = sampler_job(row.name, strength, STEPS)
    [result] = engine.generate_batch(loaded, [job], inputs=source, save_latents="final")
    hook.remove()
    assert len(calls) == row.unet_calls(int(STEPS * strength)) == len(result.run.timesteps)
    assert result.latents is not None
    assert np.isfinite(result.latents["final"]).all()
    if not row.stochastic:
        assert rms(result.pixels, references[strength]) < LARGEST_GAP
    elif strength < 1:
        # Noise of every step makes another picture of the prompt, near the one it started from.
        assert rms(result.pixels, source.image) < 15


def late(class_name: str, strength: float = 0.5, **options: Any) -> Any:
    choice = SchedulerConfig(class_name=class_name, config=tuple(options.items()))
    job = image_job(scheduler=choice, num_inference_steps=10, strength=strength)
    base = engine.load(job.spec).base_scheduler
    scheduler = build_scheduler(base, choice, steps=10, seeds=[0])
    start_late(scheduler, job)
    return scheduler, scheduler.timesteps[skipped_calls(scheduler, job) :].tolist()


@pytest.mark.parametrize(("strength", "calls"), [(0.1, 1), (0.2, 3), (0.5, 6), (1.0, 11)])
def test_plms_repeats_the_second_timestep_of_the_run(strength: float, calls: int) -> None:
    scheduler, timesteps = late("PNDMScheduler", strength, skip_prk_steps=True)
    assert len(timesteps) == calls
    assert timesteps == sorted(timesteps, reverse=True)
    if calls > 1:
        assert timesteps[1] == timesteps[2]
        assert len(set(timesteps)) == calls - 1
    before = scheduler.timesteps.tolist()
    scheduler.set_timesteps(10)  # as the pipeline does
    assert scheduler.timesteps.tolist() == before


def test_pndm_with_runge_kutta_steps_is_refused() -> None:
    with pytest.raises(UsageError, match="skip_prk_steps"):
        late("PNDMScheduler", skip_prk_steps=False)
    late("PNDMScheduler", 1.0, skip_prk_steps=False)
