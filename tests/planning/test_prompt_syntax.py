"""A job reads the syntax of its prompts where that makes a difference, and has its id by that."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER, ModelDefaults, read_defaults
from sdcli.job import Job
from sdcli.planning.resolve import resolve_jobs
from sdcli.request import GenerationRequest

EMBEDDED = read_defaults(EMBEDDED_FOLDER)


def job_of(prompt: str, defaults: ModelDefaults = EMBEDDED, **fields: str) -> Job:
    request = GenerationRequest(prompt=prompt, seed=1, **fields)  # type: ignore[arg-type]
    [job] = resolve_jobs(request, defaults, 0)
    return job


LONG = "a cat and a dog and a fish " * 6  # 162 characters, 42 tokens


@pytest.mark.parametrize("prompt", ["a cat", "", "a, b: c | d {e}", LONG, "cat " * 75, "é" * 30])
def test_a_prompt_that_means_its_words_has_the_id_of_plain_syntax(prompt: str) -> None:
    """So that batches of version 0.1.0 go on."""
    job = job_of(prompt)
    assert not job.reads_syntax
    assert (job.prompt_syntax, job_of(prompt, prompt_syntax="plain").prompt_syntax) == (
        "a1111",
        "plain",
    )
    assert job.id == job_of(prompt, prompt_syntax="plain").id


@pytest.mark.parametrize(
    "prompt", ["(cat)", "[cat]", "a\\b", "a BREAK b", "a AND b", "cat " * 76, "a)"]
)
def test_a_prompt_that_may_mean_more_has_an_id_of_its_own(prompt: str) -> None:
    job = job_of(prompt)
    assert job.reads_syntax
    assert not job_of(prompt, prompt_syntax="plain").reads_syntax
    assert job.id != job_of(prompt, prompt_syntax="plain").id
    assert job_of("a cat", negative_prompt=prompt).reads_syntax


def test_the_same_settings_are_not_the_same_reading() -> None:
    """Jobs are copied from the first with their settings."""
    assert [job_of(p).reads_syntax for p in ("a", "(a)", "a")] == [False, True, False]


def test_without_the_model_a_long_prompt_may_be_too_long() -> None:
    unknown = replace(EMBEDDED, folder=None)
    assert not job_of("a" * 75, unknown).reads_syntax
    assert job_of("a" * 76, unknown).reads_syntax


def test_a_job_becomes_a_request_with_its_syntax() -> None:
    assert job_of("a cat").to_request(dtype="float32").prompt_syntax == "a1111"
    plain = job_of("(a)", prompt_syntax="plain").to_request(dtype="float32")
    assert plain.prompt_syntax == "plain"
