"""A Stable Diffusion XL model draws what the plain call of its pipeline draws, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sdcli import engine
from sdcli.catalog.schedulers.sampler_table import SAMPLERS
from tests.engine.xl.hand_calls import draw_by_hand, prompt_arguments, xl_job

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Should have t[ab]:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*algorithm_type:FutureWarning"),
]


def draw(loaded: Any, job: Any) -> np.ndarray:
    [result] = engine.generate_batch(loaded, [job])
    pixels: np.ndarray = result.pixels
    return pixels


@pytest.mark.sample(6)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"guidance_scale": 1.0},
        {"guidance_scale": 0.0},
        {"negative_prompt": "a red background"},
        {"empty_negative": True},
        {"prompt_2": "a fish"},
        {"negative_prompt": "a fish", "negative_prompt_2": "a dog"},
        {"empty_negative": True, "negative_prompt_2": "a dog"},
        {"guidance_rescale": 0.7},
        {"clip_skip": 1},
        {"clip_skip": 2, "prompt_2": "a fish", "negative_prompt": "a star"},
        {"width": 96, "height": 64},
        {"original_size": "32x48"},
        {"crop": "16,8"},
        {"target_size": "64x128"},
        {"original_size": "640x480", "crop": "0,24", "target_size": "512x256"},
        {"prompt": ""},
        {"prompt": "a cat " * 60, "negative_prompt": "a dog " * 60},
    ],
    ids=lambda changes: "-".join(changes) or "plain",
)
def test_every_argument_equals_diffusers(
    xl: Any, plain_xl: Any, base_folder: Path, changes: dict[str, Any]
) -> None:
    job = xl_job(**changes)
    assert np.array_equal(draw(xl, job), draw_by_hand(plain_xl, base_folder, job))


def test_the_settings_change_the_image(xl: Any) -> None:
    plain = draw(xl, xl_job())
    for changes in (
        {"prompt_2": "a fish"}, {"empty_negative": True}, {"clip_skip": 1},
        {"original_size": "32x48"}, {"crop": "160,80"}, {"target_size": "64x1280"},
    ):  # fmt: skip
        assert not np.array_equal(draw(xl, xl_job(**changes)), plain), changes


@pytest.mark.sample(3)
@pytest.mark.parametrize("name", [row.name for row in SAMPLERS])
def test_every_sampler_equals_diffusers(
    xl: Any, plain_xl: Any, base_folder: Path, name: str
) -> None:
    job = xl_job(name, num_inference_steps=5)
    assert np.array_equal(draw(xl, job), draw_by_hand(plain_xl, base_folder, job))


def test_embeddings_equal_encode_prompt(xl: Any, plain_xl: Any) -> None:
    for changes in ({}, {"empty_negative": True}, {"prompt_2": "a fish", "clip_skip": 1}):
        job = xl_job(**changes)
        theirs = plain_xl.encode_prompt(
            **prompt_arguments(job), clip_skip=job.clip_skip, do_classifier_free_guidance=True
        )
        positive = xl.prompt_encoder.encode_prompt(job)
        negative = xl.prompt_encoder.encode_negative_prompt(job)
        ours = (positive.embeds, negative.embeds, positive.pooled, negative.pooled)
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_negative_prompt_that_is_left_out_is_not_an_empty_one(xl: Any) -> None:
    left_out = xl.prompt_encoder.encode_negative_prompt(xl_job())
    empty = xl.prompt_encoder.encode_negative_prompt(xl_job(empty_negative=True))
    assert not left_out.embeds.any()
    assert not left_out.pooled.any()
    assert empty.embeds.any()


def test_truncation_names_the_text_encoder_that_cut_a_text_off(xl: Any) -> None:
    def events(**changes: Any) -> list[str]:
        [result] = engine.generate_batch(xl, [xl_job(num_inference_steps=1, **changes)])
        return [event for event in result.events if "cut off" in event]

    long = "a cat " * 60
    [both] = events(prompt=long)
    assert both.startswith("prompt: CLIP reads 77 tokens")
    [second] = events(prompt_2=long)
    assert second.startswith("prompt, second text encoder: ")
    [first] = events(prompt=long, prompt_2="a fish")
    assert first.startswith("prompt, first text encoder: ")
    [negative] = events(negative_prompt="a fish", negative_prompt_2=long)
    assert negative.startswith("negative prompt, second text encoder: ")


def test_a_batch_is_close_to_its_images_alone(xl: Any) -> None:
    jobs = [
        xl_job(index=0, seed=1),
        xl_job(index=1, seed=2, prompt="a fish", prompt_2="a star"),
        xl_job(index=2, seed=3, empty_negative=True),
        xl_job(index=3, seed=4, negative_prompt="a dog", negative_prompt_2="a cat"),
    ]
    together = engine.generate_batch(xl, jobs)
    for job, result in zip(jobs, together, strict=True):
        assert np.abs(draw(xl, job).astype(int) - result.pixels).max() <= 1


def test_recording_changes_nothing(xl: Any) -> None:
    job = xl_job("dpm++ 2m")
    [recorded] = engine.generate_batch(xl, [job], save_latents="all")
    assert np.array_equal(recorded.pixels, draw(xl, job))
    assert {"noise", "final", "x0_0001", "eps_0004"} <= set(recorded.latents)
