"""The denoising loop reports every step to its observers, in order."""

from __future__ import annotations

from typing import Any, Self

import pytest
import torch
from numpy.typing import NDArray

from sdcli.engine.denoise.loop import denoise
from sdcli.engine.denoise.run_part import plan_parts
from sdcli.engine.schedulers.build import build_scheduler
from sdcli.job import Job
from sdcli.result import StepEvent
from tests.jobs import make_job


class StepRecorder:
    """A recorder of the latents of each step, and of entering and leaving."""

    def __init__(self) -> None:
        self.latents: list[tuple[int, torch.Tensor]] = []
        self.calls: list[str] = []

    def __enter__(self) -> Self:
        self.calls.append("enter")
        return self

    def __exit__(self, *_: object) -> None:
        self.calls.append("exit")

    def on_step(self, step: int, latents: torch.Tensor) -> None:
        self.latents.append((step, latents.clone()))

    def results(self, image: int) -> dict[str, NDArray[Any]]:
        return {}


def run(loaded: Any, jobs: list[Job], **arguments: Any) -> torch.Tensor:
    loaded.pipeline.scheduler = build_scheduler(
        loaded.base_scheduler,
        jobs[0].scheduler,
        steps=jobs[0].num_inference_steps,
        seeds=[job.seed for job in jobs],
    )
    generators = [torch.Generator("cpu").manual_seed(job.seed) for job in jobs]
    parts = plan_parts(loaded, jobs, loaded.pipeline.scheduler)
    options = {"recorders": (), "on_step": None, "start": None, **arguments}
    return denoise(loaded, jobs, parts, generators=generators, **options)


def test_recorders_and_callbacks_see_every_step(loaded: Any) -> None:
    jobs = [make_job(index=i, seed=i, width=128) for i in (4, 7)]
    recorder = StepRecorder()
    events: list[StepEvent] = []
    latents = run(loaded, jobs, recorders=[recorder], on_step=events.append)
    assert latents.shape == (2, 4, 8, 16)
    assert [step for step, _ in recorder.latents] == [0, 1, 2, 3, 4]
    noise = torch.randn((1, 4, 8, 16), generator=torch.Generator("cpu").manual_seed(7))
    assert torch.equal(recorder.latents[0][1][1:], noise)
    assert torch.equal(recorder.latents[-1][1], latents)
    assert [(event.step, event.steps) for event in events] == [(i, 4) for i in range(1, 5)]
    assert {event.job_indices for event in events} == {(4, 7)}
    assert recorder.calls == ["enter", "exit"]


def test_observers_do_not_change_the_latents(loaded: Any) -> None:
    jobs = [make_job()]
    observed = run(loaded, jobs, recorders=[StepRecorder()], on_step=lambda event: None)
    assert torch.equal(observed, run(loaded, jobs))


def test_recorders_are_left_when_a_callback_raises(loaded: Any) -> None:
    recorder = StepRecorder()

    def interrupt(event: StepEvent) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(loaded, [make_job()], recorders=[recorder], on_step=interrupt)
    assert recorder.calls == ["enter", "exit"]
    assert [step for step, _ in recorder.latents] == [0, 1]
