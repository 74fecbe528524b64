"""Runs with IP-Adapters equal Diffusers' pipelines with `load_ip_adapter`, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPVisionModelWithProjection
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from sdcli import engine
from sdcli.attention import AttentionSelection
from sdcli.catalog.schedulers.resolve import SchedulerConfig
from sdcli.checkpoints.adapters.image_encoder import read_image_encoder
from sdcli.checkpoints.adapters.ip_adapter_file import read_ip_adapter
from sdcli.engine.recorders.attention import AttentionRecorder
from sdcli.fields.ip_adapter import parse_ip_images
from sdcli.job import Job
from sdcli.pipeline_spec import PipelineSpec
from tests.engine.input_jobs import image_job, inputs_of, left_half, mask_job, picture
from tests.engine.xl.conftest import load
from tests.engine.xl.hand_calls import set_scheduler, xl_job
from tests.ip_adapters import SIDE, VARIANTS, make_image_encoder, make_ip_adapter, write_ip_adapter
from tests.jobs import CPU, make_job
from tests.xl_models import write_xl_model

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")


def write_all(unet: Any, folder: Path) -> Path:
    """Write an IP-Adapter of each variant, another plain one, and their image encoder."""
    make_image_encoder(folder / "image_encoder")
    for variant in VARIANTS:
        write_ip_adapter(make_ip_adapter(unet, variant), folder / f"{variant}.safetensors")
    write_ip_adapter(make_ip_adapter(unet, "plain", 1), folder / "other.bin")
    return folder


@pytest.fixture(scope="module")
def files(plain: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all(plain.unet, tmp_path_factory.mktemp("ip"))


def prompted(job: Job, spec: PipelineSpec, folder: Path, names: list[str], images: str) -> Job:
    """The job with IP-Adapters, whose images are written as "a.png:0.5;b.png"."""
    paths = [str(folder / name) for name in names]
    encoder = str(folder / "image_encoder")
    return replace(
        job,
        spec=spec,
        ip_adapter=";".join(paths),
        ip_adapter_sha256=";".join(read_ip_adapter(path, spec).sha256 for path in paths),
        ip_image=images,
        ip_image_sha256=images,
        ip_encoder=encoder,
        ip_encoder_sha256=read_image_encoder(encoder, offline=True).sha256,
    )


def pictures(job: Job) -> list[np.ndarray]:
    """An image of another shape for each image prompt of a job."""
    count = len(parse_ip_images(job.ip_image))
    shapes = [(64, 64), (90, 50), (40, 70)]
    return [
        np.asarray(Image.fromarray(picture(40 + i)).resize(shapes[i % 3])) for i in range(count)
    ]


def draw(loaded: Any, job: Job, **more: Any) -> np.ndarray:
    inputs = inputs_of(job) if job.image else None
    [result] = engine.generate_batch(
        loaded, [job], inputs=inputs, image_prompts=pictures(job), **more
    )
    return result.pixels


def by_hand(plain: Any, folder: Path | str, job: Job, *, xl: bool = False) -> np.ndarray:
    """The call that a Diffusers user would write."""
    assert job.ip_encoder is not None
    kind = "Inpaint" if job.mask else "Img2Img" if job.image else ""
    cls = getattr(diffusers, f"StableDiffusion{'XL' if xl else ''}{kind}Pipeline")
    encoder = CLIPVisionModelWithProjection.from_pretrained(job.ip_encoder, dtype=torch.float32)
    extractor = CLIPImageProcessorPil(size=SIDE, crop_size=SIDE)
    own = {"image_encoder": encoder, "feature_extractor": extractor}
    options: dict[str, Any] = (
        {"force_zeros_for_empty_prompt": plain.config.force_zeros_for_empty_prompt,
         "add_watermarker": False} if xl else {"requires_safety_checker": False}
    )  # fmt: skip
    pipeline = cls(**{**plain.components, **own}, **options)
    pipeline.set_progress_bar_config(disable=True)
    set_scheduler(pipeline, folder, job)
    uses = parse_ip_images(job.ip_image)
    paths = [Path(name) for name in (job.ip_adapter or "").split(";")]
    paths = paths * len(uses) if len(paths) == 1 else paths
    pipeline.load_ip_adapter(
        [str(path.parent) for path in paths], subfolder="",
        weight_name=[path.name for path in paths], image_encoder_folder=None,
    )  # fmt: skip
    pipeline.set_ip_adapter_scale([use.scale for use in uses])
    more: dict[str, Any] = {}
    if job.image:
        more = {"image": Image.fromarray(picture()), "strength": job.strength}
    if job.mask:
        more["mask_image"] = Image.fromarray(left_half().astype(np.uint8) * 255)
    if kind != "Img2Img":
        more |= {"height": 64, "width": 64}
    try:
        image = pipeline(
            job.prompt,
            **more,
            ip_adapter_image=[Image.fromarray(pixels) for pixels in pictures(job)],
            negative_prompt=job.negative_prompt or None,
            num_inference_steps=job.num_inference_steps,
            guidance_scale=job.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(job.seed),
        ).images[0]
    finally:
        pipeline.unload_ip_adapter()
    return np.asarray(image)


HEUN = SchedulerConfig(class_name="HeunDiscreteScheduler")
MAKERS = [make_job, image_job, mask_job]
KINDS = ["text", "image", "mask"]


@pytest.mark.sample(2)
@pytest.mark.parametrize("make", MAKERS, ids=KINDS)
@pytest.mark.parametrize("name", ["plain.safetensors", "plus.safetensors", "full.safetensors"])
def test_a_run_with_an_image_prompt_equals_diffusers(
    loaded: Any, plain: Any, files: Path, make: Any, name: str
) -> None:
    job = prompted(make(negative_prompt="red"), CPU, files, [name], "a.png:0.7")
    pixels = draw(loaded, job)
    assert np.array_equal(pixels, by_hand(plain, plain.config._name_or_path, job))
    [free] = engine.generate_batch(
        loaded, [make(negative_prompt="red")], inputs=inputs_of(job) if job.image else None
    )
    assert np.abs(free.pixels.astype(int) - pixels).max() > 5


@pytest.mark.sample(3)
@pytest.mark.parametrize(
    ("names", "images", "changes"),
    [
        (["plain.safetensors"], "a.png", {"guidance_scale": 1.0}),
        (["plus.safetensors"], "a.png:1.5", {"guidance_scale": 1.0}),
        (["plain.safetensors"], "a.png:0.5;b.png;c.png:-0.2", {}),
        (["plain.safetensors", "plus.safetensors"], "a.png:0.5;b.png:0.4", {}),
        (["other.bin", "plain.safetensors"], "a.png:0;b.png:0.4", {}),
        (["other.bin"], "a.png", {"scheduler": HEUN}),
    ],
)  # fmt: skip
def test_several_images_and_settings_equal_diffusers(
    loaded: Any, plain: Any, files: Path, names: list[str], images: str, changes: dict[str, Any]
) -> None:
    job = prompted(make_job(**changes), CPU, files, names, images)
    assert np.array_equal(draw(loaded, job), by_hand(plain, plain.config._name_or_path, job))


@pytest.fixture(scope="module")
def xl_parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any, Path]:
    folder = write_xl_model(tmp_path_factory.mktemp("xl") / "base")
    plain = diffusers.StableDiffusionXLPipeline.from_pretrained(folder, dtype=torch.float32)
    plain.set_progress_bar_config(disable=True)
    return folder, load(folder), plain, write_all(plain.unet, folder.parent)


@pytest.mark.sample(2)
@pytest.mark.parametrize("name", ["plain.safetensors", "plus.safetensors"])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"guidance_scale": 1.0},
        {"image": "in.png", "image_sha256": "ab" * 32, "strength": 0.75},
        {"image": "in.png", "image_sha256": "ab" * 32, "mask": "m.png", "mask_sha256": "cd" * 32},
    ],
    ids=["text", "unguided", "image", "mask"],
)
def test_a_run_of_xl_equals_diffusers(
    xl_parts: tuple[Path, Any, Any, Path], fields: dict[str, Any], name: str
) -> None:
    folder, loaded, plain, files = xl_parts
    job = prompted(xl_job(**fields), loaded.spec, files, [name], "a.png:0.8;b.png:0.3")
    assert np.array_equal(draw(loaded, job), by_hand(plain, folder, job, xl=True))


@pytest.fixture
def watched(loaded: Any) -> Iterator[Any]:
    """The UNet, which must come back as it was."""
    unet = loaded.pipeline.unet
    processors = dict(unet.attn_processors)
    before = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
    config = dict(unet.config)
    yield unet
    assert unet.attn_processors == processors
    assert all(a is b for a, b in zip(unet.attn_processors.values(), processors.values(),
                                      strict=True))  # fmt: skip
    assert unet.encoder_hid_proj is None
    assert unet.config.encoder_hid_dim_type is None
    assert dict(unet.config) == config
    after = unet.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert "forward" not in vars(unet)


def test_nothing_is_left_behind(loaded: Any, watched: Any, files: Path) -> None:
    [before] = engine.generate_batch(loaded, [make_job()])
    draw(loaded, prompted(make_job(), CPU, files, ["plain.safetensors"], "a.png"))
    [after] = engine.generate_batch(loaded, [make_job()])
    assert np.array_equal(before.pixels, after.pixels)
    no_scale = prompted(make_job(), CPU, files, ["plain.safetensors"], "a.png:0")
    assert np.array_equal(draw(loaded, no_scale), before.pixels)


def test_nothing_is_left_behind_by_a_run_that_breaks_off(
    loaded: Any, watched: Any, files: Path
) -> None:
    class StopError(Exception):
        pass

    def stop(event: Any) -> None:
        raise StopError

    job = prompted(make_job(), CPU, files, ["plus.safetensors"], "a.png")
    with pytest.raises(StopError):
        draw(loaded, job, on_step=stop)


def test_attention_is_captured_and_changes_nothing(loaded: Any, watched: Any, files: Path) -> None:
    job = prompted(make_job(), CPU, files, ["plain.safetensors"], "a.png")
    recorders: list[AttentionRecorder] = []

    def record(run: Any) -> AttentionRecorder:
        recorders.append(AttentionRecorder(run, AttentionSelection()))
        return recorders[-1]

    assert np.array_equal(draw(loaded, job, recorders=[record]), draw(loaded, job))
    maps = recorders[0].maps_of(0).maps
    # Over the tokens of the prompt alone, the probabilities are those of the text.
    assert maps.shape[0] > 2
    assert np.isfinite(maps).all()


@pytest.mark.parametrize("interval", [(0.0, 0.5), (0.5, 1.0)])
def test_guidance_may_begin_and_end_within_the_run(
    loaded: Any, files: Path, interval: tuple[float, float]
) -> None:
    options = {"guidance_from": interval[0], "guidance_to": interval[1]}
    jobs = [
        prompted(make_job(index=i, seed=i, **options), CPU, files, ["plus.safetensors"], "a.png")
        for i in range(2)
    ]
    together = engine.generate_batch(loaded, jobs, image_prompts=pictures(jobs[0]))
    for job, result in zip(jobs, together, strict=True):
        assert np.abs(draw(loaded, job).astype(int) - result.pixels).max() <= 1
