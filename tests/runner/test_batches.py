"""Batches of one pipeline: sizes, failures, and resuming from saved latents."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sdcli.errors import SdcliError
from sdcli.latents import LatentsSelection
from sdcli.pipeline_spec import PipelineSpec
from sdcli.prompts.sources import IterableSource
from sdcli.result import GenerationResult, JobFailure
from sdcli.runner.batch_generator import BatchGenerator, ResumeSource
from sdcli.runner.loop import generate, iter_results
from sdcli.storage.latents.reader import read_latents_file
from tests.jobs import make_job
from tests.runner.conftest import RunBatch, make_request


def test_a_chosen_batch_size_is_used_and_otherwise_the_memory_decides() -> None:
    job = make_job()
    assert BatchGenerator(batch_size=3).max_images(job) == 3
    assert BatchGenerator(batch_size=None).max_images(job) > 1


def test_jobs_of_a_model_that_does_not_load_fail_with_its_error(tmp_path: Path) -> None:
    spec = PipelineSpec(model=str(tmp_path), device="cpu")
    jobs = [make_job(index=i, spec=spec) for i in range(2)]
    generator = BatchGenerator(skip_unloadable=True)
    assert generator.max_images(jobs[0]) >= 2
    [failure] = generator.generate(jobs)
    assert isinstance(failure, JobFailure)
    assert failure.jobs == tuple(jobs)
    with pytest.raises(type(failure.error)):
        BatchGenerator().max_images(jobs[0])


def test_a_device_that_does_not_exist_ends_the_run() -> None:
    job = make_job(spec=PipelineSpec(device="cuda:99"))
    with pytest.raises(SdcliError) as caught:
        BatchGenerator(skip_unloadable=True).max_images(job)
    assert caught.value.code == "device.missing"


def test_resuming_an_unchanged_run_gives_the_same_image(
    run_batch: RunBatch, tmp_path: Path
) -> None:
    request = make_request("a cat", num_inference_steps=4)
    every = LatentsSelection.parse("all")
    run_batch([request], out=str(tmp_path / "cat.png"), journal=False, save_latents=every)
    latents = read_latents_file(str(tmp_path / "cat.latents.safetensors"))
    start = ResumeSource(latents=latents, request=request, step=2)
    [resumed] = iter_results(IterableSource([request]), resume=start)
    [other] = iter_results(IterableSource([replace(request, prompt="a dog")]), resume=start)
    [complete] = generate(request)
    assert isinstance(resumed, GenerationResult)
    assert isinstance(other, GenerationResult)
    assert np.array_equal(resumed.pixels, complete.pixels)
    assert not np.array_equal(other.pixels, complete.pixels)
