"""The planner: numbering, models, wildcards, and words that a model does not know."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER, ModelDefaults, read_defaults
from sdcli.checkpoints.refiner import fetch_defaults
from sdcli.pipeline_spec import PipelineSpec
from sdcli.planning.planner import Planner
from sdcli.prompts.wildcards import Wildcards
from sdcli.request import GenerationRequest
from tests.jobs import CPU
from tests.planning.models import DEFAULTS


def test_indices_count_over_the_whole_run() -> None:
    planner = Planner(print, find_model=lambda spec: (DEFAULTS, "ab"))
    jobs = planner.plan([GenerationRequest(prompt="a cat", seed=1, count=2)])
    jobs += planner.plan([GenerationRequest(prompt="a dog", seed=1)] * 2)
    assert [job.index for job in jobs] == [0, 1, 2, 3]
    assert {job.fingerprint for job in jobs} == {"ab"}


def test_each_model_is_looked_up_once() -> None:
    looked_up: list[PipelineSpec] = []

    def find_model(spec: PipelineSpec) -> tuple[ModelDefaults, str]:
        looked_up.append(spec)
        return DEFAULTS, ""

    tiny = replace(CPU, vae="tiny")
    requests = [GenerationRequest(prompt="a cat", spec=spec) for spec in (CPU, tiny, CPU)]
    Planner(print, find_model=find_model).plan(requests)
    assert looked_up == [CPU, tiny]


@pytest.mark.parametrize("prompt", ["a cat", "a cat and a dog " * 6, "a häuschen"])
def test_more_prompts_look_at_no_more_files(prompt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million prompts would otherwise look at those of the tokenizer a million times."""
    looks: list[object] = []
    original = os.stat

    def stat(*args: object, **options: object) -> os.stat_result:
        looks.append(args)
        return original(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", stat)
    defaults = replace(read_defaults(EMBEDDED_FOLDER), words=None)
    planner = Planner(print, find_model=lambda spec: (defaults, ""))
    planner.plan([GenerationRequest(prompt=prompt, seed=1)])
    assert looks
    looks.clear()
    planner.plan([GenerationRequest(prompt=f"{prompt} {i}", seed=i) for i in range(20)])
    assert not looks


def test_each_unknown_word_is_warned_of_once() -> None:
    warnings: list[str] = []
    defaults = replace(DEFAULTS, words=frozenset({"cat", "dog"}))
    planner = Planner(warnings.append, find_model=lambda spec: (defaults, ""))
    for prompt in ("cat", "cat unicorn", "unicorn griffin"):
        planner.plan([GenerationRequest(prompt=prompt, seed=1)])
    words = [text.rpartition(": ")[2] for text in warnings if "not know" in text]
    assert words == ["unicorn", "griffin"]
    assert sum("full model" in text for text in warnings) == 1


def test_wildcards_wait_for_the_seed_and_then_follow_it() -> None:
    wildcards = Wildcards(mode="random")
    request = GenerationRequest(prompt="a {red|blue|green} star", count=4)

    def plan(request: GenerationRequest) -> list[tuple[str, int]]:
        planner = Planner(print, lambda job: 100, wildcards, lambda spec: (DEFAULTS, ""))
        return [(job.prompt, job.seed) for job in planner.plan([request])]

    drawn = plan(request)
    assert [seed for _, seed in drawn] == [100, 101, 102, 103]
    assert all("{" not in prompt for prompt, _ in drawn)
    filled = list(wildcards.expand(replace(request, seed=100)))
    assert drawn == [(one.prompt, one.seed) for one in filled]


def test_the_embedded_model_needs_no_download() -> None:
    assert fetch_defaults(PipelineSpec(offline=True)).vae_scale_factor == 8
