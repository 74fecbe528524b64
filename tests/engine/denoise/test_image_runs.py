"""Recording, resuming and guidance intervals of runs that start from an image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sdcli import engine
from sdcli.catalog.schedulers.resolve import resolve_scheduler
from sdcli.errors import UsageError
from sdcli.job import Job
from tests.engine.input_jobs import image_job, inputs_of, mask_job
from tests.engine.recorded_latents import MemorySource

JOBS = {"image": image_job, "mask": mask_job}
NAMES = ("DDIM", "Euler a", "DPM++ 2M", "Heun", "LMS", "PLMS")


def job_of(kind: str, name: str, **changes: Any) -> Job:
    selection = resolve_scheduler(name)
    fields = {"scheduler": selection.choice, "scheduler_label": selection.label}
    return JOBS[kind](**{**fields, "num_inference_steps": 6, "strength": 0.7, **changes})


def record(loaded: Any, job: Job, without: tuple[str, ...] = ()) -> tuple[Any, MemorySource]:
    [result] = engine.generate_batch(loaded, [job], inputs=inputs_of(job), save_latents="all")
    assert result.latents is not None
    arrays = {n: a for n, a in result.latents.items() if n.split("_")[0] not in without}
    return result, MemorySource(arrays, len(result.run.timesteps))


@pytest.mark.sample(2)
@pytest.mark.parametrize("kind", JOBS)
@pytest.mark.parametrize("name", NAMES)
def test_recording_changes_nothing_and_resuming_continues_bit_for_bit(
    loaded: Any, kind: str, name: str
) -> None:
    job = job_of(kind, name)
    [plain] = engine.generate_batch(loaded, [job], inputs=inputs_of(job))
    recorded, source = record(loaded, job)
    assert np.array_equal(plain.pixels, recorded.pixels)
    for step in range(source.num_steps):
        point = engine.find_resume_point(loaded, job, job, source, step)
        assert (len(point.outputs), point.notes) == (step, ())
        [resumed] = engine.generate_batch(loaded, [job], inputs=inputs_of(job), start=point)
        assert np.array_equal(resumed.pixels, plain.pixels), step


@pytest.mark.parametrize("kind", JOBS)
@pytest.mark.parametrize("name", ["DDIM", "Euler"])
def test_latents_alone_continue_a_solver_without_history(loaded: Any, kind: str, name: str) -> None:
    job = job_of(kind, name)
    recorded, source = record(loaded, job, without=("eps", "noise"))
    for step in (1, 3):
        point = engine.find_resume_point(loaded, job, job, source, step)
        assert point.step == step
        [resumed] = engine.generate_batch(loaded, [job], inputs=inputs_of(job), start=point)
        gap = np.abs(resumed.pixels.astype(int) - recorded.pixels.astype(int))
        assert gap.max() <= 1, step


@pytest.mark.parametrize("kind", JOBS)
def test_the_predicted_image_of_the_last_step_is_the_result(loaded: Any, kind: str) -> None:
    recorded, source = record(loaded, job_of(kind, "Euler"))
    final, predicted = source.arrays["final"], source.tensor("x0", source.num_steps)
    half = final.shape[-1] // 2  # the right half of a masked run is the input's
    assert np.abs(final - predicted)[..., :half].max() < 0.05
    assert len(recorded.run.sigmas) == len(recorded.run.timesteps) + 1
    assert recorded.run.init_noise_sigma == 1


@pytest.mark.parametrize("kind", JOBS)
def test_another_scheduler_resumes_near_the_same_noise_level(loaded: Any, kind: str) -> None:
    job = job_of(kind, "DDIM", num_inference_steps=20)
    recorded, source = record(loaded, job)
    other = job_of(kind, "Euler", num_inference_steps=20)
    point = engine.find_resume_point(loaded, other, job, source, 7)
    [resumed] = engine.generate_batch(loaded, [other], inputs=inputs_of(other), start=point)
    assert any("resumes at its step" in note for note in resumed.events)
    gap = np.abs(resumed.pixels.astype(float) - recorded.pixels.astype(float))
    assert gap.mean() < 3


@pytest.mark.parametrize("kind", JOBS)
def test_another_image_or_strength_does_not_continue_exactly(loaded: Any, kind: str) -> None:
    job = job_of(kind, "DPM++ 2M")
    _, source = record(loaded, job, without=("eps",))
    for changes in ({"image_sha256": "ef" * 32}, {"strength": 0.8}):
        other = job_of(kind, "DPM++ 2M", **changes)
        point = engine.find_resume_point(loaded, other, job, source, 2)
        assert point.step is None
    with pytest.raises(UsageError, match="cannot resume from the latents alone"):
        engine.find_resume_point(loaded, job, job, source, 2)


@pytest.mark.sample(3)
@pytest.mark.parametrize("kind", JOBS)
@pytest.mark.parametrize(("first", "end"), [(0.0, 0.5), (0.5, 1.0), (0.25, 0.75)])
def test_guidance_can_be_on_for_a_part_of_the_run(
    loaded: Any, kind: str, first: float, end: float
) -> None:
    rows: list[int] = []
    hook = loaded.pipeline.unet.register_forward_pre_hook(lambda _, args: rows.append(len(args[0])))
    job = job_of(kind, "DDIM", strength=1.0, num_inference_steps=4)
    part = job_of(
        kind, "DDIM", strength=1.0, num_inference_steps=4, guidance_from=first, guidance_to=end
    )
    [whole] = engine.generate_batch(loaded, [job], inputs=inputs_of(job))
    assert rows == [2] * 4
    rows.clear()
    [result] = engine.generate_batch(loaded, [part], inputs=inputs_of(part))
    hook.remove()
    assert rows == [2 if first <= call / 4 < end else 1 for call in range(4)]
    assert not np.array_equal(whole.pixels, result.pixels)
