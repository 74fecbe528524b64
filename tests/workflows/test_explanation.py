"""What explanations say of unusual runs, and what they need to generate."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sdcli.pipeline_spec import PipelineSpec
from sdcli.request import GenerationRequest
from sdcli.workflows.explain.training import _prepare
from sdcli.workflows.explain.walk_chapters import tell_guidance


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
        (3.0, (2,), ("One step predicts twice", "of step 2"), "Each step"),
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
