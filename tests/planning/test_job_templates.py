"""Test that settings which are checked once give the jobs that checking each would give."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from itertools import islice

import pytest

from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER, read_defaults
from sdcli.errors import UsageError
from sdcli.planning.job_templates import JobTemplates
from sdcli.planning.planner import Planner
from sdcli.planning.resolve import find_faults, resolve_jobs
from sdcli.prompts.expansion import RequestTemplate
from sdcli.prompts.field_values import build_request
from sdcli.prompts.loader import load_requests
from sdcli.request import GenerationRequest

DEFAULTS = read_defaults(EMBEDDED_FOLDER)


def job_of(**values):
    [job] = resolve_jobs(GenerationRequest(**{"prompt": "a", "seed": 1, **values}), DEFAULTS, 0)
    return job


def test_equal_settings_of_other_types_have_their_own_jobs():
    assert type(job_of(guidance_scale=3).guidance_scale) is int
    assert type(job_of(guidance_scale=3.0).guidance_scale) is float
    assert job_of(guidance_scale=3).id != job_of(guidance_scale=3.0).id


def test_prompts_and_seeds_are_those_of_each_request():
    first = job_of(prompt="a", seed=3, negative_prompt="c")
    _ = first.id
    second = job_of(prompt="b", seed=4, negative_prompt="d")
    assert (second.prompt, second.seed, second.negative_prompt) == ("b", 4, "d")
    assert second.id == replace(first, prompt="b", seed=4, negative_prompt="d").id


def test_a_negative_prompt_is_a_fault_of_its_own():
    assert not find_faults(GenerationRequest(prompt="a", guidance_scale=1), DEFAULTS)
    with_negative = GenerationRequest(prompt="a", guidance_scale=1, negative_prompt="b")
    assert find_faults(with_negative, DEFAULTS)
    assert find_faults(with_negative, DEFAULTS)


def test_faults_are_those_of_the_model():
    request = GenerationRequest(prompt="a", clip_skip=1)
    assert not find_faults(request, replace(DEFAULTS, text_encoder_layers=9))
    assert find_faults(request, replace(DEFAULTS, text_encoder_layers=1))


def test_the_number_of_templates_is_bounded():
    templates = JobTemplates()
    for steps in range(1, 1001):
        for guidance in (1, 2):
            request = GenerationRequest(
                prompt="a", num_inference_steps=steps, guidance_scale=guidance
            )
            templates.add(request, DEFAULTS, (), job_of())
    assert len(templates._jobs) <= 1024
    assert templates.find(request, DEFAULTS, ())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"offline": 1}, "offline: 1 is not true or false"),
        ({"guidance_scale": True}, "guidance_scale"),
        ({"seed": 2**63}, "seed"),
        ({"seed": 2**63 - 1, "count": 2}, "leaves no room"),
        ({"prompt": "a\0"}, "NUL character"),
        ({"negative_prompt": 3}, "negative_prompt"),
        ({"model": ["a"]}, "model"),
    ],
)
def test_a_value_is_checked_whatever_was_built_before(values, message):
    build_request({"prompt": "a", "offline": True, "guidance_scale": 1, "count": 2, "seed": 1})
    build_request({"prompt": "a", "offline": True})
    for _ in range(2):
        with pytest.raises(UsageError, match=message):
            build_request({"prompt": "a", **values})


def test_requests_built_from_shared_values_equal_those_built_alone():
    for seed in (None, 1, 2):
        values = {"prompt": f"a {seed}", "seed": seed, "width": 64, "model": "m"}
        assert build_request(values) == GenerationRequest.from_dict(values)
    assert build_request({"prompt": "a", "size": (64, 72)}).height == 72


def test_a_long_file_is_read_in_bounded_memory(tmp_path):
    path = tmp_path / "f.jsonl"
    with path.open("w") as file:
        for number in range(30_000):
            file.write(f'{{"prompt": "a cat {number}", "seed": {number}, "eta": 0}}\n')
    requests = load_requests([str(path)], None, RequestTemplate())
    assert len(list(islice(requests, 2000))) == 2000
    tracemalloc.start()
    assert sum(1 for _ in requests) == 28_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The file has 1.3 MB.
    assert peak < 600_000


def test_a_million_unknown_words_are_not_a_million_warnings():
    warnings: list[str] = []
    planner = Planner(warnings.append, find_model=lambda spec: (DEFAULTS, ""))
    planner.plan(GenerationRequest(prompt=f"a cat {n}", seed=1) for n in range(1000))
    assert len(warnings) < 110
    assert warnings[-1].startswith("further words")
