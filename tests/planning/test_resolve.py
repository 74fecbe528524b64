"""Planning: every choice made, every flag that would be ignored refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sdcli.catalog.schedulers.resolve import SchedulerConfig
from sdcli.checkpoints.model_defaults import ModelDefaults
from sdcli.errors import UsageError
from sdcli.job import batch_key
from sdcli.planning.resolve import resolve_jobs
from sdcli.request import GenerationRequest

DEFAULTS = ModelDefaults(
    family="Stable Diffusion 1",
    num_inference_steps=50,
    guidance_scale=7.5,
    width=512,
    height=512,
    scheduler=None,
    scheduler_class="PNDMScheduler",
    prediction_type="epsilon",
    latent_channels=4,
    vae_scale_factor=8,
    text_encoder_layers=12,
)


def jobs(defaults=DEFAULTS, **asked):
    return list(resolve_jobs(GenerationRequest(**{"prompt": "a cat", **asked}), defaults, 0))


def test_what_is_left_out_is_the_models():
    [job] = jobs(seed=1)
    assert (job.num_inference_steps, job.guidance_scale, job.width) == (50, 7.5, 512)
    assert job.scheduler == SchedulerConfig(class_name=None)
    assert job.scheduler_label == "PNDMScheduler"


def test_what_is_said_wins():
    [job] = jobs(num_inference_steps=4, guidance_scale=2.0, width=64, scheduler="ddim", seed=1)
    assert (job.num_inference_steps, job.guidance_scale, job.width, job.height) == (4, 2, 64, 512)
    assert job.scheduler.class_name == "DDIMScheduler"


def test_a_models_own_scheduler_name_is_used():
    [job] = jobs(replace(DEFAULTS, scheduler="DPM++ 2M"))
    assert job.scheduler_label == "DPM++ 2M"


def test_a_guidance_of_zero_is_something_said():
    assert jobs(guidance_scale=0)[0].guidance_scale == 0


def test_images_count_their_seeds_and_indices():
    request = GenerationRequest(prompt="a cat", seed=7, count=3)
    made = list(resolve_jobs(request, DEFAULTS, 5))
    assert [(job.index, job.seed) for job in made] == [(5, 7), (6, 8), (7, 9)]


def test_unset_seeds_are_drawn_anew_for_each_request():
    assert len({jobs()[0].seed for _ in range(20)}) > 15


def test_jobs_that_differ_in_prompt_and_seed_alone_share_a_batch():
    first, second = jobs(seed=1)[0], jobs(prompt="a dog", negative_prompt="red", seed=2)[0]
    assert batch_key(first) == batch_key(second)
    for change in ({"width": 64}, {"num_inference_steps": 3}, {"scheduler": "Euler"}):
        assert batch_key(first) != batch_key(jobs(**change)[0])


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"width": 500}, "usage.width"),
        ({"height": 12}, "usage.height"),
        ({"scheduler": "LCM", "num_inference_steps": 51}, "usage.num_inference_steps"),
        ({"scheduler": "Euler", "eta": 0.5}, "usage.eta"),
        ({"eta": 0.5}, "usage.eta"),
        ({"guidance_scale": 1.0, "negative_prompt": "red"}, "usage.guidance_scale"),
        ({"guidance_scale": 0.0, "guidance_rescale": 0.7}, "usage.guidance_scale"),
        ({"clip_skip": 12}, "usage.clip_skip"),
        ({"scheduler": "Euler a Karras"}, "scheduler.schedule"),
    ],
)
def test_what_would_be_ignored_or_break_is_refused(asked, code):
    with pytest.raises(UsageError) as caught:
        jobs(**asked)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "asked",
    [{"scheduler": "DDIM", "eta": 1.0}, {"clip_skip": 11}, {"width": 504}, {"guidance_scale": 1}],
)
def test_what_works_is_let_through(asked):
    assert len(jobs(**asked)) == 1


def test_a_size_off_the_grid_names_the_nearest():
    with pytest.raises(UsageError) as caught:
        jobs(width=500)
    assert caught.value.hint == "the nearest is 496"
