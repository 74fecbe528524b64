"""A guidance schedule, against Diffusers' pipelines with a callback that sets the scale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from sdcli import engine
from sdcli.errors import UsageError
from sdcli.fields.guidance import (
    largest_scale,
    name_schedule,
    parse_schedule,
    scale_at,
    split_schedules,
)
from sdcli.job import Job
from tests.engine.input_jobs import image_job, inputs_of, left_half, mask_job, picture
from tests.engine.xl.conftest import load
from tests.engine.xl.hand_calls import set_scheduler, xl_job
from tests.jobs import make_job
from tests.xl_models import write_xl_model

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")

SCHEDULE = "0:7.5,0.4:4,0.8:2"
DECREASING = "0:7.5,0.4:4,0.8:1"


def scheduled(job: Job, schedule: str) -> Job:
    from dataclasses import replace

    return replace(
        job, guidance_schedule=schedule, guidance_scale=largest_scale(schedule),
        num_inference_steps=6,
    )  # fmt: skip


def by_hand(plain: Any, folder: Path | str, job: Job, *, xl: bool = False) -> np.ndarray:
    """The call that a Diffusers user would write, who follows its guide to callbacks."""
    kind = "Inpaint" if job.mask else "Img2Img" if job.image else ""
    cls = getattr(diffusers, f"StableDiffusion{'XL' if xl else ''}{kind}Pipeline")
    options: dict[str, Any] = (
        {"force_zeros_for_empty_prompt": plain.config.force_zeros_for_empty_prompt,
         "add_watermarker": False} if xl else {"requires_safety_checker": False}
    )  # fmt: skip
    pipeline = cls(**plain.components, **options)
    pipeline.set_progress_bar_config(disable=True)
    set_scheduler(pipeline, folder, job)
    points = parse_schedule(job.guidance_schedule)
    inputs = ["prompt_embeds", *(["add_text_embeds", "add_time_ids"] if xl else [])]

    def callback(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        scale = [s for at, s in points if at * pipe.num_timesteps <= step + 1][-1]
        if scale <= 1 < pipe.guidance_scale:
            tensors = {name: tensors[name].chunk(2)[-1] for name in inputs}
        pipe._guidance_scale = scale
        return tensors

    more: dict[str, Any] = {}
    if job.image:
        more = {"image": Image.fromarray(picture()), "strength": job.strength}
    if job.mask:
        more["mask_image"] = Image.fromarray(left_half().astype(np.uint8) * 255)
    if kind != "Img2Img":
        more |= {"height": 64, "width": 64}
    image = pipeline(
        job.prompt,
        **more,
        negative_prompt=job.negative_prompt or None,
        num_inference_steps=job.num_inference_steps,
        guidance_scale=points[0][1],
        generator=torch.Generator("cpu").manual_seed(job.seed),
        callback_on_step_end=callback,
        callback_on_step_end_tensor_inputs=inputs,
    ).images[0]
    return np.asarray(image)


def draw(loaded: Any, job: Job) -> np.ndarray:
    inputs = inputs_of(job) if job.image else None
    [result] = engine.generate_batch(loaded, [job], inputs=inputs)
    return result.pixels


@pytest.mark.sample(3)
@pytest.mark.parametrize("schedule", [SCHEDULE, DECREASING, "0:3"])
@pytest.mark.parametrize("make", [make_job, image_job], ids=["text", "image"])
def test_a_schedule_equals_a_callback_of_diffusers(
    loaded: Any, plain: Any, make: Any, schedule: str
) -> None:
    job = scheduled(make(negative_prompt="a dog"), schedule)
    assert np.array_equal(draw(loaded, job), by_hand(plain, plain.config._name_or_path, job))


def test_inpainting_equals_a_callback_of_diffusers(loaded: Any, plain: Any) -> None:
    # Without a step that is not guided: the mask of Diffusers' loop would have to change as well.
    job = scheduled(mask_job(), SCHEDULE)
    assert np.array_equal(draw(loaded, job), by_hand(plain, plain.config._name_or_path, job))


@pytest.mark.sample(1)
@pytest.mark.parametrize("schedule", [SCHEDULE, DECREASING])
def test_stable_diffusion_xl_equals_a_callback_of_diffusers(tmp_path: Path, schedule: str) -> None:
    folder = write_xl_model(tmp_path / "base")
    plain = diffusers.StableDiffusionXLPipeline.from_pretrained(folder, dtype=torch.float32)
    plain.set_progress_bar_config(disable=True)
    job = scheduled(xl_job(negative_prompt="a dog"), schedule)
    assert np.array_equal(draw(load(folder), job), by_hand(plain, folder, job, xl=True))


def test_one_scale_is_the_ordinary_run_and_one_point_below_is_an_interval(loaded: Any) -> None:
    ordinary = draw(loaded, make_job(guidance_scale=3.0, num_inference_steps=6))
    assert np.array_equal(draw(loaded, scheduled(make_job(), "0:3")), ordinary)
    ends = draw(loaded, make_job(guidance_scale=3.0, num_inference_steps=6, guidance_to=0.5))
    assert np.array_equal(draw(loaded, scheduled(make_job(), "0:3,0.5:1")), ends)
    begins = draw(loaded, make_job(guidance_scale=3.0, num_inference_steps=6, guidance_from=0.5))
    assert np.array_equal(draw(loaded, scheduled(make_job(), "0:0,0.5:3")), begins)


@pytest.mark.parametrize(
    ("text", "points"),
    [
        ("0:7.5,0.4:4,0.8:1", ((0, 7.5), (0.4, 4), (0.8, 1))),
        (" 0 : 7 , .5 : 1. ", ((0, 7), (0.5, 1))),
        ("0.0:3", ((0, 3),)),
        ("none", ()),
        (None, ()),
    ],
)
def test_what_a_schedule_may_look_like(text: str | None, points: Any) -> None:
    assert parse_schedule(text) == points
    assert parse_schedule(name_schedule(text)) == points


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0.4:4", "does not begin at 0"),
        ("0:7,0.8:4,0.4:1", "fractions that do not increase"),
        ("0:7,0:4", "fractions that do not increase"),
        ("0:7,1:4", "a fraction that is not below 1"),
        ("0:1001", "a scale above 1000"),
        ("7.5", "is not a list of FRACTION:SCALE"),
        ("0:7,,0.5:1", "is not a list of FRACTION:SCALE"),
        ("0:-7", "is not a list of FRACTION:SCALE"),
        ("0:nan", "is not a list of FRACTION:SCALE"),
        ("", "is not a list of FRACTION:SCALE"),
    ],
)
def test_what_is_no_schedule_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_schedule(text)


def test_a_sweep_is_split_where_a_schedule_begins() -> None:
    swept = "none,0:7,0.5:1,0.0:3,none,0:2"
    assert split_schedules(swept) == ["none", "0:7,0.5:1", "0.0:3", "none", "0:2"]


def test_calls_have_the_scale_of_the_last_fraction_that_they_reach() -> None:
    points = parse_schedule("0:8,0.25:4,0.5:2")
    assert [scale_at(points, 1, call, 8) for call in range(8)] == [8, 8, 4, 4, 2, 2, 2, 2]
    assert scale_at((), 5, 3, 8) == 5
