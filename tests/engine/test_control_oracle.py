"""Runs with ControlNets equal the calls of Diffusers' own ControlNet pipelines, bit for bit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from sdcli import engine
from sdcli.catalog.schedulers.resolve import SchedulerConfig
from sdcli.checkpoints.adapters.controlnet_file import read_controlnet
from sdcli.fields.control import parse_control_images
from sdcli.input_images import ControlPixels
from sdcli.job import Job
from sdcli.pipeline_spec import PipelineSpec
from tests.controlnets import LAYOUTS, make_controlnet, write_controlnet
from tests.engine.input_jobs import image_job, inputs_of, left_half, mask_job, picture
from tests.engine.xl.conftest import load
from tests.engine.xl.hand_calls import set_scheduler, xl_job
from tests.inpainting_model import make_inpainting_model
from tests.jobs import CPU, make_job
from tests.xl_models import write_xl_model

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")


@pytest.fixture(scope="module")
def networks(plain: Any, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two ControlNets for the embedded model: a folder each."""
    return _write(plain.unet, tmp_path_factory.mktemp("controlnets"))


def _write(unet: Any, folder: Path) -> list[Path]:
    paths = [folder / name for name in ("edges", "depth")]
    for seed, path in enumerate(paths):
        make_controlnet(unet, seed).save_pretrained(path)
    return paths


def controlled(job: Job, spec: PipelineSpec, paths: list[Path], images: list[str]) -> Job:
    """The job with ControlNets, whose images are written as "edges.png:0.5"."""
    from dataclasses import replace

    return replace(
        job,
        spec=spec,
        controlnet=";".join(map(str, paths)),
        controlnet_sha256=";".join(read_controlnet(str(path), spec).sha256 for path in paths),
        control_image=";".join(images),
        control_image_sha256=";".join(images),
    )


def pixels_for(job: Job, seed: int = 20) -> ControlPixels:
    count = len(parse_control_images(job.control_image))
    return ControlPixels(first=[picture(seed + i) for i in range(count)])


def draw(loaded: Any, job: Job) -> np.ndarray:
    inputs = inputs_of(job) if job.image else None
    [result] = engine.generate_batch(loaded, [job], inputs=inputs, controls=pixels_for(job))
    return result.pixels


def by_hand(plain: Any, folder: Path, job: Job, *, xl: bool = False) -> np.ndarray:
    """The call that a Diffusers user would write."""
    paths = (job.controlnet or "").split(";")
    nets = [diffusers.ControlNetModel.from_pretrained(p, dtype=torch.float32) for p in paths]
    images = [Image.fromarray(pixels) for pixels in pixels_for(job).first]
    uses = parse_control_images(job.control_image)
    kind = "Inpaint" if job.mask else "Img2Img" if job.image else ""
    xl_name = "XL" if xl else ""
    cls = getattr(diffusers, f"StableDiffusion{xl_name}ControlNet{kind}Pipeline")
    controlnet = nets if len(nets) > 1 else nets[0]
    options: dict[str, Any] = (
        {"force_zeros_for_empty_prompt": plain.config.force_zeros_for_empty_prompt,
         "add_watermarker": False} if xl else {"requires_safety_checker": False}
    )  # fmt: skip
    pipeline = cls(**plain.components, controlnet=controlnet, **options)
    pipeline.set_progress_bar_config(disable=True)
    set_scheduler(pipeline, folder, job)
    several = len(nets) > 1
    control = images if several else images[0]
    arguments: dict[str, Any] = {"image": control}
    if job.image:
        arguments = {
            "image": Image.fromarray(picture()),
            "control_image": control,
            "strength": job.strength,
        }
    if job.mask:
        arguments["mask_image"] = Image.fromarray(left_half().astype(np.uint8) * 255)
    more = {} if job.image and not xl and kind == "Img2Img" else {"height": 64, "width": 64}
    image = pipeline(
        job.prompt,
        **arguments,
        **more,
        negative_prompt=job.negative_prompt or None,
        num_inference_steps=job.num_inference_steps,
        guidance_scale=job.guidance_scale,
        eta=job.eta,
        clip_skip=job.clip_skip,
        controlnet_conditioning_scale=[u.scale for u in uses] if several else uses[0].scale,
        control_guidance_start=[u.start for u in uses] if several else uses[0].start,
        control_guidance_end=[u.end for u in uses] if several else uses[0].end,
        generator=torch.Generator("cpu").manual_seed(job.seed),
    ).images[0]
    return np.asarray(image)


MAKERS = [make_job, image_job, mask_job]
KINDS = ["text", "image", "mask"]
CHANGES: list[dict[str, Any]] = [
    {},
    {"guidance_scale": 1.0},
    {"negative_prompt": "a red background"},
    *(
        {"scheduler": SchedulerConfig(class_name=name), "num_inference_steps": 6}
        for name in ("EulerDiscreteScheduler", "HeunDiscreteScheduler", "UniPCMultistepScheduler")
    ),
]


@pytest.mark.sample(2)
@pytest.mark.parametrize("make", MAKERS, ids=KINDS)
@pytest.mark.parametrize("changes", CHANGES, ids=lambda changes: str(changes)[:60] or "plain")
def test_a_controlled_run_equals_diffusers(
    loaded: Any, plain: Any, networks: list[Path], make: Any, changes: dict[str, Any]
) -> None:
    job = controlled(make(**changes), CPU, networks[:1], ["edges.png:0.8"])
    pixels = draw(loaded, job)
    assert np.array_equal(pixels, by_hand(plain, plain.config._name_or_path, job))
    [free] = engine.generate_batch(
        loaded, [make(**changes)], inputs=inputs_of(job) if job.image else None
    )
    assert np.abs(free.pixels.astype(int) - pixels).max() > 10


@pytest.mark.sample(2)
@pytest.mark.parametrize("make", MAKERS, ids=KINDS)
@pytest.mark.parametrize(
    "images",
    [["a:1", "b:0.4"], ["a:0.7:0.3", "b:1:0:0.6"], ["a:-0.5:0.5", "b:0"], ["a:0", "b:1"]],
    ids=str,
)
def test_several_and_their_parts_of_the_run_equal_diffusers(
    loaded: Any, plain: Any, networks: list[Path], make: Any, images: list[str]
) -> None:
    job = controlled(make(num_inference_steps=6), CPU, networks, images)
    assert np.array_equal(draw(loaded, job), by_hand(plain, plain.config._name_or_path, job))


def test_no_scale_is_no_controlnet(loaded: Any, networks: list[Path]) -> None:
    job = controlled(make_job(), CPU, networks[:1], ["a:0"])
    [plain] = engine.generate_batch(loaded, [make_job()])
    assert np.array_equal(draw(loaded, job), plain.pixels)
    # Nothing is left behind by one that has run.
    draw(loaded, controlled(make_job(), CPU, networks[:1], ["a:1"]))
    [after] = engine.generate_batch(loaded, [make_job()])
    assert np.array_equal(after.pixels, plain.pixels)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_single_file_is_the_folder(
    loaded: Any, plain: Any, networks: list[Path], tmp_path: Path, layout: str
) -> None:
    file = write_controlnet(make_controlnet(plain.unet, 0), tmp_path / "a.safetensors", layout)
    folder = controlled(make_job(), CPU, networks[:1], ["a:1"])
    single = controlled(make_job(), CPU, [file], ["a:1"])
    assert np.array_equal(draw(loaded, single), draw(loaded, folder))


@pytest.mark.parametrize("guidance", [3.0, 1.0])
def test_a_unet_of_nine_channels_equals_diffusers(tmp_path: Path, guidance: float) -> None:
    model = make_inpainting_model(tmp_path)
    spec = PipelineSpec(model=str(model), device="cpu", dtype="float32")
    unet = diffusers.UNet2DConditionModel.from_pretrained(model / "unet", dtype=torch.float32)
    plain = diffusers.StableDiffusionPipeline.from_pretrained(
        model, unet=unet, dtype=torch.float32, safety_checker=None
    )
    [path, _] = _write(unet, tmp_path)
    job = controlled(mask_job(guidance_scale=guidance), spec, [path], ["a:1"])
    assert np.array_equal(draw(engine.load(spec), job), by_hand(plain, model, job))


@pytest.fixture(scope="module")
def xl_parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any, list[Path]]:
    folder = write_xl_model(tmp_path_factory.mktemp("xl") / "base")
    plain = diffusers.StableDiffusionXLPipeline.from_pretrained(folder, dtype=torch.float32)
    plain.set_progress_bar_config(disable=True)
    return folder, load(folder), plain, _write(plain.unet, folder.parent)


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"image": "in.png", "image_sha256": "ab" * 32, "strength": 0.75},
        {"image": "in.png", "image_sha256": "ab" * 32, "mask": "m.png", "mask_sha256": "cd" * 32},
    ],
    ids=KINDS,
)
@pytest.mark.parametrize("images", [["a:1"], ["a:0.7:0.3", "b:1:0:0.6"]], ids=str)
@pytest.mark.parametrize("guidance", [5.0, 1.0])
def test_a_controlled_run_of_xl_equals_diffusers(
    xl_parts: tuple[Path, Any, Any, list[Path]],
    fields: dict[str, Any],
    images: list[str],
    guidance: float,
) -> None:
    folder, loaded, plain, paths = xl_parts
    job = xl_job(**fields, guidance_scale=guidance)
    job = controlled(job, loaded.spec, paths[: len(images)], images)
    assert np.array_equal(draw(loaded, job), by_hand(plain, folder, job, xl=True))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_single_file_of_xl_is_the_folder(
    xl_parts: tuple[Path, Any, Any, list[Path]], tmp_path: Path, layout: str
) -> None:
    _, loaded, plain, paths = xl_parts
    file = write_controlnet(make_controlnet(plain.unet, 0), tmp_path / "a.safetensors", layout)
    jobs = [controlled(xl_job(), loaded.spec, [path], ["a:1"]) for path in (paths[0], file)]
    assert np.array_equal(draw(loaded, jobs[0]), draw(loaded, jobs[1]))


@pytest.mark.parametrize("interval", [(0.0, 0.5), (0.5, 1.0)])
def test_guidance_may_begin_and_end_within_a_controlled_run(
    loaded: Any, networks: list[Path], interval: tuple[float, float]
) -> None:
    options = {"guidance_from": interval[0], "guidance_to": interval[1]}
    jobs = [
        controlled(make_job(index=i, seed=i, **options), CPU, networks[:1], ["a:1"])
        for i in range(2)
    ]
    controls = pixels_for(jobs[0])
    together = engine.generate_batch(loaded, jobs, controls=controls)
    for job, result in zip(jobs, together, strict=True):
        assert np.abs(draw(loaded, job).astype(int) - result.pixels).max() <= 1


def test_a_network_with_another_configuration_is_loaded_again(
    loaded: Any, networks: list[Path], tmp_path: Path
) -> None:
    path = Path(shutil.copytree(networks[0], tmp_path / "edges"))
    job = controlled(make_job(), CPU, [path], ["edges.png"])
    before = draw(loaded, job)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "act_fn": "gelu"}))
    assert not np.array_equal(draw(loaded, job), before)
    (path / "config.json").write_text(json.dumps(config))
    assert np.array_equal(draw(loaded, job), before)
