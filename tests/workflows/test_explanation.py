"""What explanations say of unusual runs, and what they need to generate."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sdcli.pipeline_spec import PipelineSpec
from sdcli.request import GenerationRequest
from sdcli.workflows.explain.guidance_chapters import tell_guidance
from sdcli.workflows.explain.training import _prepare


def guided_run(scale: float, steps: int, guided: tuple[int, ...]) -> Any:
    """The measurements of a run, in which only some steps have an unconditional output."""
    rows = [
        {
            "step": step,
            "guidance_scale": scale if step in guided else None,
            "guidance_share": step / 10 if step in guided else None,
            "guidance_cosine": step / steps if step in guided else None,
        }
        for step in range(1, steps + 1)
    ]
    job = SimpleNamespace(guidance_scale=scale)
    return SimpleNamespace(trace=SimpleNamespace(steps=rows), result=SimpleNamespace(job=job))


@pytest.mark.parametrize(
    ("scale", "guided", "said", "not_said"),
    [
        (3.0, (1, 2, 3, 4), ("Each step predicts twice", "At first your words"), "once"),
        (3.0, (3, 4), ("Steps 3 to 4 predict twice", "the others once", "of step 3"), "At first"),
        (3.0, (2, 3), ("Steps 2 to 3 predict twice", "of that of step 3"), "Each step"),
        (3.0, (2,), ("Step 2 predicts twice", "adds is 20 % of the output."), "goes from"),
        (1.0, (), ("Guidance is off",), "twice"),
        (8.0, (), ("No step of this run has an unconditional output",), "off"),
    ],
)
def test_it_says_which_steps_predict_twice(
    scale: float, guided: tuple[int, ...], said: tuple[str, ...], not_said: str
) -> None:
    text = " ".join(tell_guidance(guided_run(scale, 4, guided)).texts)
    assert all(part in text for part in said), text
    assert not_said not in text


def test_one_step_is_not_compared_with_itself() -> None:
    text = " ".join(tell_guidance(guided_run(3.0, 1, (1,))).texts)
    assert text.startswith("The step predicts twice"), text
    assert (text.count("10 %"), text.count("1.00")) == (1, 1)


def test_the_least_is_named_only_between_the_ends() -> None:
    run = guided_run(3.0, 4, (1, 2, 3, 4))
    assert "It is least" not in " ".join(tell_guidance(run).texts)
    run.trace.steps[2]["guidance_share"] = 0.05
    assert "It is least at step 3, 5.0 %." in " ".join(tell_guidance(run).texts)


@pytest.mark.parametrize("steps", [None, 50])
def test_training_runs_as_little_as_it_can(steps: int | None) -> None:
    """Only the first UNet call counts, and the refiner has no part in it."""
    spec = PipelineSpec(refiner="large", refiner_config="xl-refiner")
    request = GenerationRequest(
        prompt="a cat", spec=spec, num_inference_steps=steps, refiner_at=0.5, aesthetic_score=5.0
    )
    prepared = _prepare(request)
    assert (prepared.num_inference_steps, prepared.spec) == (2, PipelineSpec())
    assert (prepared.refiner_at, prepared.aesthetic_score) == (None, None)
