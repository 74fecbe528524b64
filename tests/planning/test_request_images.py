"""The size and the hashes that a request takes from its images, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER, ModelDefaults, read_defaults
from sdcli.checkpoints.xl_traits import XlTraits
from sdcli.errors import CorruptError, SdcliError, UsageError
from sdcli.fields.image import IMAGE_FIELDS, Margins
from sdcli.input_images import InputImage
from sdcli.job import Job
from sdcli.planning.resolve import find_faults, resolve_jobs
from sdcli.request import GenerationRequest

DEFAULTS = read_defaults(EMBEDDED_FOLDER)


def read(path: str) -> InputImage:
    if path == "broken.png":
        raise CorruptError("broken.png: not a readable image", code="image.corrupt")
    width, height = {"odd.png": (130, 127), "tiny.png": (7, 90)}.get(path, (96, 64))
    return InputImage(path=path, sha256=path[0] * 64, width=width, height=height)


def plan(defaults: ModelDefaults = DEFAULTS, **fields: Any) -> Job:
    request = GenerationRequest(prompt="a cat", seed=1, **fields)
    [job] = resolve_jobs(request, defaults, 0, read_image=read)
    return job


def faults(defaults: ModelDefaults = DEFAULTS, **fields: Any) -> list[SdcliError]:
    request = GenerationRequest(prompt="a cat", seed=1, **fields)
    return find_faults(request, defaults, read)


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({}, (128, 128)),
        ({"image": "a.png"}, (96, 64)),
        ({"image": "odd.png"}, (128, 120)),
        ({"image": "a.png", "width": 64}, (64, 64)),
        ({"image": "a.png", "width": 32, "height": 40}, (32, 40)),
        ({"image": "a.png", "outpaint": "left=32,bottom=12"}, (128, 72)),
        ({"image": "a.png", "mask": "m.png", "inpaint_area": "mask"}, (128, 128)),
    ],
)
def test_the_size_is_the_image_s_in_whole_cells(fields: Any, size: tuple[int, int]) -> None:
    job = plan(**fields)
    assert (job.width, job.height) == size


def test_the_request_of_a_job_makes_the_same_job() -> None:
    for fields in (
        {},
        {"image": "odd.png"},
        {"image": "odd.png", "mask": "m.png", "mask_blur": 3, "keep_unmasked": False},
        {"image": "odd.png", "outpaint": "top=5", "strength": 1.0},
        {"image": "odd.png", "mask": "m.png", "inpaint_area": "mask", "inpaint_padding": 4},
    ):
        job = plan(**fields)
        [again] = resolve_jobs(job.to_request(dtype="float32"), DEFAULTS, 0, read_image=read)
        assert replace(again, spec=job.spec, scheduler=job.scheduler) == job


def test_the_id_has_the_hash_and_not_the_path() -> None:
    job = plan(image="a.png", mask="m.png")
    assert replace(job, image="elsewhere/b.png", mask="n.png").id == job.id
    assert replace(job, image_sha256="b" * 64).id != job.id
    assert replace(job, mask_sha256="b" * 64).id != job.id
    for name, value in {"strength": 0.5, "mask_blur": 2, "mask_invert": True}.items():
        assert replace(job, **{name: value}).id != job.id


def test_a_replaced_file_is_another_job() -> None:
    request = GenerationRequest(prompt="a cat", seed=1, image="a.png")
    [first] = resolve_jobs(request, DEFAULTS, 0, read_image=read)
    [second] = resolve_jobs(
        request, DEFAULTS, 0, read_image=lambda path: replace(read(path), sha256="f" * 64)
    )
    assert first.id != second.id


@pytest.mark.parametrize(
    "name", [name for name, info in IMAGE_FIELDS.items() if info.needs and name != "mask_invert"]
)
def test_a_field_without_what_it_needs_is_refused(name: str) -> None:
    values: dict[str, Any] = {
        "strength": 0.8, "mask": "m.png", "mask_blur": 0, "keep_unmasked": True,
        "inpaint_area": "whole", "inpaint_padding": 32, "outpaint": "left=8", "resize": "crop",
    }  # fmt: skip
    [error] = faults(**{name: values[name]})
    assert error.code == f"usage.{name}"
    assert "has no effect without" in error.message


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"image": "a.png", "strength": 0.0}, "strength", "leaves no step"),
        ({"image": "a.png", "strength": 0.04}, "strength", "leaves no step"),
        ({"image": "a.png", "guidance_rescale": 0.5}, "guidance_rescale", "XL has it"),
        ({"hires": "2x", "guidance_rescale": 0.5}, "guidance_rescale", "with --hires"),
        ({"image": "tiny.png"}, "image", "smaller than 8x8"),
        ({"image": "a.png", "outpaint": "left=8", "width": 64}, "outpaint", "104x64"),
        ({"image": "a.png", "mask_invert": True}, "mask_invert", "without --mask"),
    ],
)
def test_what_cannot_run_is_refused(fields: dict[str, Any], code: str, words: str) -> None:
    [error] = faults(**fields)
    assert error.code == f"usage.{code}"
    assert words in error.message


def test_the_hint_for_no_step_runs_one() -> None:
    [error] = faults(image="a.png", strength=0.04)
    assert error.hint is not None
    steps = int(error.hint.split()[2].rstrip(","))
    assert plan(image="a.png", strength=0.04, num_inference_steps=steps).denoising_steps == 1


def test_an_unreadable_image_is_an_error_with_its_field() -> None:
    [error] = faults(image="broken.png")
    assert isinstance(error, CorruptError)
    assert error.message.startswith("image: broken.png")


def test_an_inpainting_model_needs_an_image_and_a_mask() -> None:
    inpainting = replace(DEFAULTS, is_inpainting=True)
    for fields in ({}, {"image": "a.png"}):
        [error] = faults(inpainting, **fields)
        assert error.code == "usage.mask"
        assert "--mask" in str(error.hint)
    assert faults(inpainting, image="a.png", mask="m.png") == []
    assert faults(inpainting, image="a.png", outpaint="left=8") == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "has an empty part"),
        ("left=8,", "has an empty part"),
        ("left", "has 'left', which is not SIDE=PIXELS"),
        ("top=8, left=", "has 'left=', which is not SIDE=PIXELS"),
        ("up=8", "has 'up=8', which is not SIDE=PIXELS"),
        ("left=-8", "has 'left=-8', which is not SIDE=PIXELS"),
        (f"left={'9' * 5000}", "which is not SIDE=PIXELS"),
        ("left=8,left=16", "names left twice"),
        ("left=16385", "has more than 16384 pixels"),
        ("left=0,top=0", "adds nothing"),
    ],
)
def test_margins_that_are_none_are_refused(text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem) as caught:
        Margins.parse(text)
    assert caught.value.code == "usage.outpaint"


def test_margins_that_make_the_image_too_long_are_named() -> None:
    [error] = faults(image="a.png", outpaint="left=16384")
    assert error.message.startswith("outpaint: with its margins the image is 1")


@pytest.mark.parametrize("fields", [{"image": "a.png"}, {"hires": "2x"}], ids=str)
def test_only_pipelines_of_xl_rescale_the_guidance_of_images(fields: dict[str, Any]) -> None:
    xl = replace(
        DEFAULTS, xl=XlTraits(text_encoders=2, zeroes_negative=True, takes_aesthetic_score=False)
    )
    assert faults(xl, **fields, guidance_rescale=0.5) == []
