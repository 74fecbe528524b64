"""IP-Adapters together with other options: equal to Diffusers, or to a loop by hand."""

from __future__ import annotations

import json
import shutil
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
from sdcli.fields.ip_adapter import parse_ip_images
from sdcli.job import Job
from tests.controlnets import make_controlnet
from tests.engine.denoise.test_prompt_syntax import encode, syntax_job
from tests.engine.test_control_oracle import controlled, pixels_for
from tests.engine.test_ip_adapter_oracle import draw, pictures, prompted, write_all
from tests.engine.xl.hand_calls import set_scheduler
from tests.ip_adapters import SIDE
from tests.jobs import CPU, make_job

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")
PLAIN = ["plain.safetensors"]


@pytest.fixture(scope="module")
def files(plain: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all(plain.unet, tmp_path_factory.mktemp("ip"))


def showing(plain: Any, cls: Any, job: Job, **more: Any) -> Any:
    """A pipeline of Diffusers with the IP-Adapter of a job."""
    assert job.ip_encoder is not None
    assert job.ip_adapter is not None
    encoder = CLIPVisionModelWithProjection.from_pretrained(job.ip_encoder, dtype=torch.float32)
    extractor = CLIPImageProcessorPil(size=SIDE, crop_size=SIDE)
    own = {"image_encoder": encoder, "feature_extractor": extractor}
    pipeline = cls(**{**plain.components, **own}, **more)
    pipeline.set_progress_bar_config(disable=True)
    path = Path(job.ip_adapter)
    pipeline.load_ip_adapter(
        str(path.parent), subfolder="", weight_name=path.name, image_encoder_folder=None
    )
    pipeline.set_ip_adapter_scale([use.scale for use in parse_ip_images(job.ip_image)])
    return pipeline


def shown_images(job: Job) -> list[Image.Image]:
    return [Image.fromarray(pixels) for pixels in pictures(job)]


@pytest.mark.parametrize("guidance", [3.0, 1.0])
def test_a_controlnet_beside_it_equals_diffusers(
    loaded: Any, plain: Any, files: Path, tmp_path: Path, guidance: float
) -> None:
    make_controlnet(plain.unet, 0).save_pretrained(tmp_path / "edges")
    job = controlled(make_job(guidance_scale=guidance), CPU, [tmp_path / "edges"], ["e.png:0.8"])
    job = prompted(job, CPU, files, PLAIN, "a.png:0.7")
    [ours] = engine.generate_batch(
        loaded, [job], controls=pixels_for(job), image_prompts=pictures(job)
    )
    network = diffusers.ControlNetModel.from_pretrained(tmp_path / "edges", dtype=torch.float32)
    cls = diffusers.StableDiffusionControlNetPipeline
    pipeline = showing(plain, cls, job, controlnet=network, requires_safety_checker=False)
    set_scheduler(pipeline, plain.config._name_or_path, job)
    try:
        theirs = pipeline(
            job.prompt, image=Image.fromarray(pixels_for(job).first[0]), height=64, width=64,
            num_inference_steps=job.num_inference_steps, guidance_scale=guidance,
            controlnet_conditioning_scale=0.8, ip_adapter_image=shown_images(job),
            generator=torch.Generator().manual_seed(job.seed),
        ).images[0]  # fmt: skip
    finally:
        pipeline.unload_ip_adapter()
    assert np.array_equal(ours.pixels, np.asarray(theirs))
    free = draw(loaded, prompted(make_job(guidance_scale=guidance), CPU, files, PLAIN, "a.png:0.7"))
    assert np.abs(free.astype(int) - ours.pixels).max() > 5


def test_freeu_beside_it_equals_diffusers(loaded: Any, plain: Any, files: Path) -> None:
    job = prompted(make_job(freeu="0.9,0.2,1.5,1.6"), CPU, files, PLAIN, "a.png:0.7")
    cls = diffusers.StableDiffusionPipeline
    pipeline = showing(plain, cls, job, requires_safety_checker=False)
    set_scheduler(pipeline, plain.config._name_or_path, job)
    pipeline.enable_freeu(s1=0.9, s2=0.2, b1=1.5, b2=1.6)
    try:
        theirs = pipeline(
            job.prompt, height=64, width=64, num_inference_steps=job.num_inference_steps,
            guidance_scale=job.guidance_scale, ip_adapter_image=shown_images(job),
            generator=torch.Generator().manual_seed(job.seed),
        ).images[0]  # fmt: skip
    finally:
        pipeline.disable_freeu()
        pipeline.unload_ip_adapter()
    assert np.array_equal(draw(loaded, job), np.asarray(theirs))


def test_all_prompts_of_and_see_the_image(loaded: Any, plain: Any, files: Path) -> None:
    job = syntax_job("a cat AND a dog :0.5", negative_prompt="green", guidance_scale=2.0)
    job = prompted(job, CPU, files, PLAIN, "a.png:0.7")
    pipeline = showing(plain, diffusers.StableDiffusionPipeline, job, requires_safety_checker=False)
    set_scheduler(pipeline, plain.config._name_or_path, job)
    pipeline.scheduler.set_timesteps(job.num_inference_steps)
    latents = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(job.seed))
    prompts = torch.cat([encode(loaded, text) for text in ("green", "a cat ", " a dog")])
    try:
        with torch.no_grad():
            [embeds] = pipeline.prepare_ip_adapter_image_embeds(
                shown_images(job), None, torch.device("cpu"), 1, True
            )
            images = {"image_embeds": [torch.cat([embeds, embeds[1:]])]}
            for timestep in pipeline.scheduler.timesteps:
                free, cat, dog = pipeline.unet(
                    torch.cat([latents] * 3), timestep, encoder_hidden_states=prompts,
                    added_cond_kwargs=images,
                )[0].chunk(3)  # fmt: skip
                total = free + 2.0 * ((cat - free) + 0.5 * (dog - free))
                latents = pipeline.scheduler.step(total, timestep, latents)[0]
    finally:
        pipeline.unload_ip_adapter()
    [ours] = engine.generate_batch(loaded, [job], save_latents="final", image_prompts=pictures(job))
    assert ours.latents is not None
    [found] = ours.latents.values()
    assert np.allclose(np.squeeze(found), latents[0].numpy(), atol=5e-4)


@pytest.mark.parametrize(
    "fields", [{}, {"guidance_scale": 1.0}, {"freeu": "0.9,0.2,1.5,1.6"}], ids=str
)
def test_rows_of_one_batch_equal_each_alone(
    loaded: Any, files: Path, fields: dict[str, Any]
) -> None:
    prompts = ["a cat", "a dog", "a red fish"]
    jobs = [
        prompted(
            make_job(index=i, seed=i, prompt=p, **fields), CPU, files, PLAIN, "a.png;b.png:0.3"
        )
        for i, p in enumerate(prompts)
    ]
    together = engine.generate_batch(loaded, jobs, image_prompts=pictures(jobs[0]))
    for job, result in zip(jobs, together, strict=True):
        assert np.abs(draw(loaded, job).astype(int) - result.pixels).max() <= 1


@pytest.mark.parametrize(
    "changes",
    [
        {"ip_image": "a.png:0.5"},
        {"ip_image_sha256": "ab" * 32},
        {"ip_adapter_sha256": "ab" * 32},
        {"ip_encoder_sha256": "ab" * 32},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_rows_with_other_images_are_no_batch(
    loaded: Any, files: Path, changes: dict[str, str]
) -> None:
    job = prompted(make_job(), CPU, files, PLAIN, "a.png:0.7")
    with pytest.raises(ValueError, match="must share"):
        engine.generate_batch(loaded, [job, replace(job, **changes)], image_prompts=pictures(job))


def test_an_encoder_with_another_configuration_is_loaded_again(
    loaded: Any, files: Path, tmp_path: Path
) -> None:
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    job = prompted(make_job(), CPU, tmp_path, PLAIN, "a.png")
    before = draw(loaded, job)
    config_file = tmp_path / "image_encoder" / "config.json"
    config = json.loads(config_file.read_text())
    config_file.write_text(json.dumps({**config, "hidden_act": "relu"}))
    after = draw(loaded, job)
    assert not np.array_equal(before, after)
    config_file.write_text(json.dumps(config))
    assert np.array_equal(draw(loaded, job), before)
