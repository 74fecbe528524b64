"""The point where a run resumes depends on what its source recorded and on what changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sdcli import engine
from sdcli.catalog.schedulers.resolve import SchedulerConfig, resolve_scheduler
from sdcli.errors import CorruptError, UsageError
from sdcli.job import Job
from sdcli.latents import RESUMED_PREFIX
from tests.engine.recorded_latents import MemorySource, record
from tests.jobs import make_job

JOB = make_job()
ANCESTRAL = make_job(scheduler=resolve_scheduler("Euler a").choice, scheduler_label="Euler a")
EULER = make_job(scheduler=resolve_scheduler("Euler").choice, scheduler_label="Euler")


@pytest.mark.parametrize("job", [JOB, ANCESTRAL], ids=["ddim", "ancestral"])
@pytest.mark.parametrize("step", [0, 1, 3])
def test_the_same_settings_continue_bit_for_bit(loaded: Any, job: Job, step: int) -> None:
    result, source = record(loaded, job)
    point = engine.find_resume_point(loaded, job, job, source, step)
    assert (len(point.outputs), point.notes) == (step, ())
    [resumed] = engine.generate_batch(loaded, [job], start=point)
    assert np.array_equal(resumed.pixels, result.pixels)


def test_a_memoryless_scheduler_continues_from_latents_alone(loaded: Any) -> None:
    result, source = record(loaded, JOB, kinds=("xt",))
    point = engine.find_resume_point(loaded, JOB, JOB, source, 2)
    assert (point.outputs, point.step) == ((), 2)
    [resumed] = engine.generate_batch(loaded, [JOB], start=point)
    assert np.array_equal(resumed.pixels, result.pixels)


@pytest.mark.parametrize(
    "job",
    [
        ANCESTRAL,
        replace(JOB, eta=1.0),
        make_job(scheduler=SchedulerConfig(class_name="DPMSolverMultistepScheduler")),
    ],
    ids=["ancestral", "eta", "multistep"],
)
def test_latents_alone_are_not_enough_for_a_scheduler_with_history(loaded: Any, job: Job) -> None:
    _, source = record(loaded, job, kinds=("xt",))
    with pytest.raises(UsageError) as caught:
        engine.find_resume_point(loaded, job, job, source, 2)
    assert caught.value.code == "latents.no_history"
    assert "--save-latents all" in (caught.value.hint or "")


def test_another_scheduler_resumes_at_the_nearest_noise_level_and_says_so(loaded: Any) -> None:
    _, source = record(loaded, JOB)
    point = engine.find_resume_point(loaded, EULER, JOB, source, 2)
    assert point.step is None
    assert point.latents is not None
    assert point.direction is not None
    # At this step the latents are about half signal and half noise, scaled to variance 1.
    assert 0.5 < point.latents.std() < 1.5
    assert "Euler resumes at its step" in point.notes[-1]
    assert f"{point.sigma:.4g}" in point.notes[-1]
    [resumed] = engine.generate_batch(loaded, [EULER], start=point)
    assert point.notes[-1] in resumed.events


def test_another_scheduler_starts_from_the_recorded_noise_at_step_zero(loaded: Any) -> None:
    _, source = record(loaded, JOB)
    point = engine.find_resume_point(loaded, EULER, JOB, source, 0)
    assert (point.latents, point.outputs) == (None, ())
    [resumed] = engine.generate_batch(loaded, [EULER], start=point)
    [plain] = engine.generate_batch(loaded, [EULER])
    assert np.array_equal(resumed.pixels, plain.pixels)


def test_changed_settings_are_noted_and_earlier_notes_are_kept(loaded: Any) -> None:
    _, source = record(loaded, JOB)
    source.record["events"] = [f"{RESUMED_PREFIX} 1 are those of older.safetensors", "unrelated"]
    star = replace(JOB, prompt="a red star", guidance_scale=2.0)
    notes = engine.find_resume_point(loaded, star, JOB, source, 2).notes
    assert notes[0] == source.record["events"][0]
    assert len(notes) == 2
    assert notes[1].startswith(f"{RESUMED_PREFIX} 2 ")
    for text in (source.path.name, repr(JOB.prompt), "guidance_scale 3.0"):
        assert text in notes[1]


def test_notes_have_no_folders(loaded: Any) -> None:
    _, source = record(loaded, JOB)
    earlier = replace(
        JOB, lora="/home/me/b.safetensors:0.5", embedding="/home/me/toy.pt:toy",
        controlnet="/home/me/edges", control_image="/home/me/a.png:0.5", vae_tiling=True,
    )  # fmt: skip
    [note] = engine.find_resume_point(loaded, JOB, earlier, source, 2).notes
    assert "/home" not in note
    for text in ("lora 'b:0.5'", "embedding 'toy'", "controlnet 'edges'", "'a.png:0.5'"):
        assert text in note


@pytest.mark.parametrize("step", [-1, 4, 100])
def test_a_step_outside_of_the_run_is_an_error(loaded: Any, step: int) -> None:
    _, source = record(loaded, JOB)
    with pytest.raises(UsageError) as caught:
        engine.find_resume_point(loaded, JOB, JOB, source, step)
    assert caught.value.code == "usage.from_step"


def test_latents_that_do_not_fit_the_model_or_the_record_are_errors(loaded: Any) -> None:
    _, source = record(loaded, JOB)
    wide = MemorySource({"xt_0001": np.zeros((16, 8, 8), np.float32)}, 4)
    with pytest.raises(UsageError, match="16 channels") as usage:
        engine.find_resume_point(loaded, JOB, JOB, wide, 1)
    assert usage.value.code == "latents.channels"
    with pytest.raises(CorruptError, match="128x64") as corrupt:
        engine.find_resume_point(loaded, JOB, replace(JOB, width=128), source, 1)
    assert corrupt.value.code == "latents.corrupt"
