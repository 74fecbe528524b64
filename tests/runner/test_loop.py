"""The loop: results in order, failures, and what ends a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sdcli import engine
from sdcli.errors import ModelError, NumericsError, OutputError, SdcliError
from sdcli.pipeline_spec import PipelineSpec
from sdcli.prompts.sources import IterableSource
from sdcli.result import GenerationResult, JobFailure, StepEvent
from sdcli.runner.loop import generate, iter_results
from sdcli.runner.pipeline_cache import PipelineCache
from tests.runner.conftest import CPU, RunBatch, make_request

PROMPTS = ("a cat", "a dog", "a red star")


def test_results_come_in_the_order_of_the_requests() -> None:
    mixed = [make_request(p, spec=replace(CPU, vae=v)) for p in PROMPTS for v in (None, "tiny")]
    results = generate(mixed)
    assert [(r.job.index, r.job.prompt) for r in results] == [
        (i, request.prompt) for i, request in enumerate(mixed)
    ]


def test_steps_are_reported_for_each_batch() -> None:
    steps: list[StepEvent] = []
    requests = [make_request(prompt, num_inference_steps=2) for prompt in PROMPTS]
    generate(requests, batch_size=2, on_step=steps.append)
    assert [(event.job_indices, event.step) for event in steps] == [
        ((0, 1), 1), ((0, 1), 2), ((2,), 1), ((2,), 2),
    ]  # fmt: skip


def test_none_as_batch_size_lets_the_memory_decide() -> None:
    results = generate([make_request(prompt) for prompt in PROMPTS], batch_size=None)
    assert {result.run.batch_size for result in results} == {3}


def fail_on_dogs(monkeypatch: pytest.MonkeyPatch, error: SdcliError) -> None:
    real = engine.generate_batch

    def generate_batch(pipeline, jobs, **options):
        if "dog" in jobs[0].prompt:
            raise error
        return real(pipeline, jobs, **options)

    monkeypatch.setattr(engine, "generate_batch", generate_batch)


def test_a_failed_batch_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_on_dogs(monkeypatch, NumericsError("NaN", code="numerics.unet"))
    requests = [make_request(prompt) for prompt in PROMPTS]
    kinds = [type(outcome) for outcome in iter_results(IterableSource(requests))]
    assert kinds == [GenerationResult, JobFailure, GenerationResult]
    with pytest.raises(NumericsError):
        generate(requests)


def test_a_full_disk_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_on_dogs(monkeypatch, OutputError("full", code="output.full"))
    outcomes = iter_results(IterableSource([make_request(prompt) for prompt in PROMPTS]))
    assert isinstance(next(outcomes), GenerationResult)
    with pytest.raises(OutputError):
        next(outcomes)


@pytest.fixture
def broken(tmp_path: Path) -> PipelineSpec:
    """A model that can be planned with and does not load."""
    import shutil

    from sdcli.checkpoints.hub import fetch_model

    folder = tmp_path / "broken"
    shutil.copytree(fetch_model(CPU), folder)
    unet = folder / "unet" / "diffusion_pytorch_model.safetensors"
    unet.chmod(0o644)
    unet.write_bytes(unet.read_bytes()[:1000])
    return replace(CPU, model=str(folder))


def test_a_model_that_does_not_load_ends_a_run_without_a_journal(broken: PipelineSpec) -> None:
    with pytest.raises((ModelError, SdcliError)):
        generate([make_request("a cat", spec=broken), make_request("a dog")])


def test_with_a_journal_it_fails_its_own_jobs_together(
    broken: PipelineSpec, run_batch: RunBatch
) -> None:
    requests = [make_request(prompt, spec=broken) for prompt in PROMPTS]
    ran = run_batch([*requests, make_request("a fish")])
    assert len(ran.paths) == 1
    failures = [event["indices"] for event in ran.events if event["event"] == "failed"]
    assert failures == [[0, 1, 2]]


def test_the_cache_of_the_caller_is_used() -> None:
    cache = PipelineCache()
    [result] = iter_results(IterableSource([make_request("a cat")]), cache=cache)
    [other] = generate(make_request("a cat"))
    assert cache.specs == (CPU,)
    assert isinstance(result, GenerationResult)
    assert np.array_equal(result.pixels, other.pixels)
