"""A run that the refiner ends is resumed within the base model's part and within the refiner's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sdcli import engine
from sdcli.job import Job
from tests.engine.recorded_latents import record
from tests.engine.xl.hand_calls import xl_job
from tests.engine.xl.test_refiner import counted_calls

STEPS, BASE_STEPS = 6, 3


def refined_job(scheduler: str, **changes: Any) -> Job:
    own = {"num_inference_steps": STEPS, "refiner_at": 0.5, "aesthetic_score": 6.0}
    return xl_job(scheduler, **{**own, **changes})


def resume(loaded: Any, job: Job, earlier: Job, source: Any, step: int) -> Any:
    point = engine.find_resume_point(loaded, job, earlier, source, step)
    [result] = engine.generate_batch(loaded, [job], start=point, save_latents="all")
    return result


@pytest.mark.sample(2)
@pytest.mark.parametrize("name", ["Euler", "Euler a", "DDIM", "DPM++ 2M Karras", "DPM++ 2M SDE"])
def test_the_same_settings_continue_bit_for_bit(xl_refined: Any, name: str) -> None:
    job = refined_job(name)
    result, source = record(xl_refined, job)
    assert result.run.refiner_call is not None
    for step in (1, BASE_STEPS, STEPS - 1):
        resumed = resume(xl_refined, job, job, source, step)
        assert np.array_equal(resumed.pixels, result.pixels)
        for key, array in source.arrays.items():
            assert np.array_equal(resumed.latents[key], array)


@pytest.mark.parametrize("name", ["Euler", "DDIM"])
def test_latents_alone_are_enough_without_a_history(xl_refined: Any, name: str) -> None:
    job = refined_job(name)
    result, source = record(xl_refined, job, kinds=("xt",))
    for step in (1, BASE_STEPS, STEPS - 1):
        resumed = resume(xl_refined, job, job, source, step)
        assert np.array_equal(resumed.pixels, result.pixels)


@pytest.mark.parametrize("step", [0, BASE_STEPS - 1, BASE_STEPS, STEPS - 1])
@pytest.mark.parametrize("kinds", [("xt",), ("xt", "x0", "eps", "noise")])
def test_only_the_steps_after_the_resume_point_are_computed(
    xl_refined: Any, kinds: tuple[str, ...], step: int
) -> None:
    job = refined_job("Euler")
    _, source = record(xl_refined, job, kinds=(*kinds, "noise"))
    # A call that is skipped or replayed does not reach the first layer.
    pipelines = xl_refined.pipeline, xl_refined.refiner.pipeline
    with counted_calls(*(pipeline.unet.conv_in for pipeline in pipelines)) as calls:
        resume(xl_refined, job, job, source, step)
    assert calls == [max(0, BASE_STEPS - step), min(STEPS - BASE_STEPS, STEPS - step)]


@pytest.mark.parametrize("step", [1, BASE_STEPS, STEPS - 1])
def test_another_prompt_or_scheduler_takes_over_from_there(xl_refined: Any, step: int) -> None:
    job = refined_job("Euler")
    result, source = record(xl_refined, job)
    other = resume(xl_refined, replace(job, prompt="a red star"), job, source, step)
    for key, array in source.arrays.items():
        is_earlier = key == "noise" or (key != "final" and int(key.split("_")[1]) <= step)
        assert np.array_equal(other.latents[key], array) == is_earlier, key
    ddim = refined_job("DDIM")
    changed = resume(xl_refined, ddim, job, source, step)
    assert any("DDIM resumes at its step" in event for event in changed.events)
    # Both follow the same path closely, and would not from another step.
    distance = np.abs(changed.pixels.astype(int) - result.pixels).mean()
    assert distance < 8
