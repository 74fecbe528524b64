"""Names of image files: by place, by what differs, by the row, and by a template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sdcli.name_template import NameTemplate
from sdcli.pipeline_spec import PipelineSpec
from sdcli.row import Row
from sdcli.storage.images.destination import Destination
from sdcli.storage.images.file_names import first_file_name, job_file_name
from tests.jobs import make_job

FOLDER = Destination(kind="folder", path=Path("out"))
SERIES = Destination(kind="numbered", path=Path("out/x.webp"))


def name(template: str | None = None, destination: Destination = FOLDER, **job: Any) -> str:
    parsed = NameTemplate.parse(template) if template else None
    place = Destination(kind=destination.kind, path=destination.path, name_template=parsed)
    values = {"index": 11, "prompt": "A cat!", "seed": 3}
    return job_file_name(make_job(**{**values, **job}), place)


@pytest.mark.parametrize(
    ("varied", "expected"),
    [
        ((), "0012-a-cat-3.png"),
        (("seed",), "0012-a-cat-3.png"),
        (("num_inference_steps",), "0012-a-cat-3-steps-4.png"),
        (("scheduler", "guidance_scale"), "0012-a-cat-3-ddimscheduler-guidance-3.png"),
        (("size",), "0012-a-cat-3-64x64.png"),
        (("width",), "0012-a-cat-3-width-64.png"),
        (("vae",), "0012-a-cat-3.png"),
    ],
)
def test_the_name_says_what_differs(varied: tuple[str, ...], expected: str) -> None:
    assert name(row=Row(varied=varied)) == expected


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("negative_prompt", "(red) cat", "negative-red-cat"),
        ("negative_prompt", "!", "negative"),
        ("image", "/home/me/in.png", "image-in.png"),
        ("lora", "/home/me/a.safetensors:-0.5", "lora-a--0.5"),
    ],
)
def test_what_differs_is_a_name_of_letters(field: str, value: str, expected: str) -> None:
    names = name(row=Row(varied=(field,)), **{field: value})
    assert names == f"0012-a-cat-3-{expected}.png"


@pytest.mark.parametrize(
    ("given", "varied", "expected"),
    [
        ("cat", (), "cat.png"),
        ("cat.PNG", (), "cat.png"),
        ("v1.5", (), "v1.5.png"),
        ("../../etc/passwd", (), "etc-passwd.png"),
        ("cat", ("seed",), "cat-3.png"),
        ("cat", ("num_inference_steps", "seed"), "cat-steps-4-3.png"),
        ("...", (), "0012-a-cat-3.png"),
        ("猫", (), "猫.png"),
    ],
)
def test_a_row_names_its_image(given: str, varied: tuple[str, ...], expected: str) -> None:
    assert name(name=given, row=Row(varied=varied)) == expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{sku}-{seed}", "A-1-3.png"),
        ("{index}_{file}_{line}", "0012_products_4.png"),
        ("{index:06}", "000012.png"),
        ("{scheduler}-{steps}-{cfg}", "DDIMScheduler-4-3.png"),
        ("{name}{model}{size}", "namedmine64x64.png"),
        ("{prompt}", "A-cat.png"),
        ("{refiner}{refiner_config}{text_encoder}{vae}{model_config}", "rcteconf.png"),
        ("{image}-{mask}", "in.png-m.png.png"),
        ("{clip_skip:02}x", "x.png"),
        ("{Product Id}", "9.png"),
        ("{empty}", "0012-A-cat-3.png".lower()),
    ],
)
def test_a_template_names_every_image(template: str, expected: str) -> None:
    extra = {"sku": "A/1", "product-id": 9, "empty": ""}
    row = Row(file="data/products.csv", line=4, extra=extra)
    spec = PipelineSpec(
        model="/home/me/mine",
        refiner="/home/me/r",
        refiner_config="/home/me/c",
        text_encoder="/home/me/te",
        model_config="/home/me/conf",
        device="cpu",
    )
    inputs = {"image": "/home/me/in.png", "mask": "/home/me/m.png"}
    assert name(template, row=row, name="named", spec=spec, **inputs) == expected


def test_a_series_keeps_its_beginning_and_its_format() -> None:
    assert name(destination=SERIES) == "x-0012.webp"
    assert name(destination=SERIES, name="cat") == "x-cat.webp"
    assert name("{seed}", destination=SERIES) == "x-3.webp"


def test_an_image_is_found_under_the_name_of_version_0_1_0() -> None:
    job = make_job(index=11, prompt="A cat!", seed=3, row=Row(varied=("scheduler",)))
    assert first_file_name(job, FOLDER) == "0012-a-cat-3.png"
    assert first_file_name(job, SERIES) == "x-0012.webp"
