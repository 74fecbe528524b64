"""Resolving requests: every choice is made, and options that would be ignored are errors."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sdcli.catalog.schedulers.resolve import SchedulerConfig
from sdcli.errors import UsageError
from sdcli.planning.resolve import find_faults, random_seed, resolve_jobs
from sdcli.request import GenerationRequest
from tests.planning.models import DEFAULTS


def jobs(defaults=DEFAULTS, **options):
    return list(resolve_jobs(GenerationRequest(**{"prompt": "a cat", **options}), defaults, 0))


def test_the_model_decides_what_the_request_leaves_open():
    [job] = jobs(seed=1)
    assert (job.num_inference_steps, job.guidance_scale, job.width) == (50, 7.5, 512)
    assert job.scheduler == SchedulerConfig(class_name=None)
    assert job.scheduler_label == "PNDMScheduler"


def test_the_request_wins_over_the_model():
    [job] = jobs(num_inference_steps=4, guidance_scale=2.0, width=64, scheduler="ddim", seed=1)
    assert (job.num_inference_steps, job.guidance_scale, job.width, job.height) == (4, 2, 64, 512)
    assert job.scheduler.class_name == "DDIMScheduler"


def test_the_name_of_a_models_scheduler_is_used():
    [job] = jobs(replace(DEFAULTS, scheduler="DPM++ 2M"))
    assert job.scheduler_label == "DPM++ 2M"


def test_a_guidance_of_zero_is_a_value():
    assert jobs(guidance_scale=0)[0].guidance_scale == 0


def test_the_images_of_a_request_have_consecutive_seeds_and_indices():
    request = GenerationRequest(prompt="a cat", seed=7, count=3)
    made = list(resolve_jobs(request, DEFAULTS, 5))
    assert [(job.index, job.seed) for job in made] == [(5, 7), (6, 8), (7, 9)]


def test_each_request_without_a_seed_gets_another_random_one():
    assert len({jobs()[0].seed for _ in range(20)}) > 15


def test_jobs_that_differ_only_in_prompt_and_seed_share_a_batch():
    first, second = jobs(seed=1)[0], jobs(prompt="a dog", negative_prompt="red", seed=2)[0]
    assert first.batch_key == second.batch_key
    for change in ({"width": 64}, {"num_inference_steps": 3}, {"scheduler": "Euler"}):
        assert first.batch_key != jobs(**change)[0].batch_key


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"width": 500}, "usage.width"),
        ({"height": 12}, "usage.height"),
        ({"scheduler": "LCM", "num_inference_steps": 51}, "usage.num_inference_steps"),
        ({"scheduler": "Euler", "eta": 0.5}, "usage.eta"),
        ({"eta": 0.5}, "usage.eta"),
        ({"scheduler": "LCM", "num_inference_steps": 4, "hires": "2x", "hires_steps": 51},
         "usage.hires_steps"),
        ({"guidance_from": 0.1, "guidance_to": 0.2, "hires": "2x", "num_inference_steps": 10},
         "usage.guidance_from"),
        ({"guidance_scale": 1.0, "negative_prompt": "red"}, "usage.guidance_scale"),
        ({"guidance_scale": 0.0, "guidance_rescale": 0.7}, "usage.guidance_scale"),
        ({"clip_skip": 12}, "usage.clip_skip"),
        ({"scheduler": "Euler a Karras"}, "scheduler.schedule"),
    ],
)  # fmt: skip
def test_options_that_the_model_cannot_use_are_errors(options, code):
    with pytest.raises(UsageError) as caught:
        jobs(**options)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "options",
    [{"scheduler": "DDIM", "eta": 1.0}, {"clip_skip": 11}, {"width": 504}, {"guidance_scale": 1}],
)
def test_options_that_the_model_can_use_are_accepted(options):
    assert len(jobs(**options)) == 1


def test_the_error_of_a_size_names_the_nearest_one():
    with pytest.raises(UsageError) as caught:
        jobs(width=500)
    assert caught.value.hint == "the nearest is 496"


def test_all_faults_are_found_and_the_first_is_raised():
    request = GenerationRequest(prompt="a cat", width=500, height=12, eta=0.5, seed=1)
    faults = find_faults(request, DEFAULTS)
    assert [fault.code for fault in faults] == ["usage.width", "usage.height", "usage.eta"]
    with pytest.raises(UsageError) as caught:
        list(resolve_jobs(request, DEFAULTS, 0))
    assert str(caught.value) == str(faults[0])


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ({"scheduler": "LCM", "num_inference_steps": 51}, "num_inference_steps", "(--steps): 51"),
        (
            {"scheduler": "LCM", "num_inference_steps": 4, "hires_steps": 51},
            "hires_steps",
            "hires_steps: 51 is more",
        ),
        (
            {"num_inference_steps": 9, "guidance_from": 0.01, "guidance_to": 0.02},
            "guidance_from",
            "guidance_from: no step",
        ),
    ],
)
def test_a_fault_of_a_second_pass_is_told_once_with_its_field(options, code, words):
    request = GenerationRequest(prompt="a cat", hires="2x", seed=1, **options)
    [fault] = find_faults(request, DEFAULTS)
    assert fault.code == f"usage.{code}"
    assert words in fault.message


def test_an_unknown_scheduler_hides_no_other_fault():
    request = GenerationRequest(prompt="a cat", scheduler="eulr", width=500, seed=1)
    codes = [fault.code for fault in find_faults(request, DEFAULTS)]
    assert codes == ["scheduler.unknown", "usage.width"]


def test_a_seed_is_drawn_only_for_a_request_without_one():
    def draw_seed(job):
        assert job.seed == 0
        return 1234

    open_request = GenerationRequest(prompt="a cat", count=2)
    drawn = list(resolve_jobs(open_request, DEFAULTS, 0, draw_seed=draw_seed))
    assert [job.seed for job in drawn] == [1234, 1235]
    [chosen] = resolve_jobs(replace(open_request, seed=0, count=1), DEFAULTS, 0, draw_seed=None)
    assert chosen.seed == 0


def test_random_seeds_have_32_bits():
    seeds = {random_seed() for _ in range(50)}
    assert len(seeds) > 40
    assert all(0 <= seed < 2**32 for seed in seeds)
