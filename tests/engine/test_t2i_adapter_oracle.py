"""Runs with T2I-Adapters equal the calls of Diffusers' own adapter pipelines, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from sdcli.catalog.schedulers.resolve import SchedulerConfig
from sdcli.checkpoints.adapters.t2i_adapter import _inputs, _layout, _outputs
from sdcli.fields.control import parse_control_images
from sdcli.job import Job
from tests.controlnets import make_controlnet
from tests.engine.recorded_latents import latents_of
from tests.engine.test_control_oracle import controlled, pixels_for
from tests.engine.xl.hand_calls import set_scheduler
from tests.jobs import CPU, make_job
from tests.t2i_adapters import make_adapter, write_adapter

STEPS = {"num_inference_steps": 2}


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("adapters")
    gray = write_adapter(folder / "gray", 2, in_channels=1)
    return [*(write_adapter(folder / f"color{seed}", seed) for seed in (0, 1)), gray]


def by_hand(plain: Any, job: Job) -> np.ndarray:
    """Return the latents of the call that a Diffusers user would write."""
    networks = [
        diffusers.T2IAdapter.from_pretrained(path, dtype=torch.float32)
        for path in (job.controlnet or "").split(";")
    ]
    images = [
        Image.fromarray(pixels).convert("L" if network.config.in_channels == 1 else "RGB")
        for pixels, network in zip(pixels_for(job).first, networks, strict=True)
    ]
    scales = [use.scale for use in parse_control_images(job.control_image)]
    components = {name: part for name, part in plain.components.items() if name != "image_encoder"}
    is_one = len(networks) == 1
    pipeline = diffusers.StableDiffusionAdapterPipeline(
        **components, adapter=networks[0] if is_one else networks, requires_safety_checker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    set_scheduler(pipeline, plain.config._name_or_path, job)
    latents: torch.Tensor = pipeline(
        job.prompt,
        image=images[0] if is_one else images,
        adapter_conditioning_scale=scales[0] if is_one else scales,
        height=job.height,
        width=job.width,
        num_inference_steps=job.num_inference_steps,
        guidance_scale=job.guidance_scale,
        generator=torch.Generator("cpu").manual_seed(job.seed),
        output_type="latent",
    ).images
    array: np.ndarray = latents[0].numpy()
    return array


def drawn(loaded: Any, job: Job) -> np.ndarray:
    return latents_of(loaded, job, controls=pixels_for(job))


HEUN = {"scheduler": SchedulerConfig(class_name="HeunDiscreteScheduler")}


@pytest.mark.parametrize(
    ("chosen", "images", "changes"),
    [
        ([0], ["a.png:0.8"], {}),
        ([0], ["a.png"], {"guidance_scale": 1.0, **HEUN}),
        ([2], ["a.png:1.5"], {}),
        ([0, 1], ["a.png:0.7", "b.png:0.4"], {}),
    ],
)
def test_a_run_equals_diffusers(
    loaded: Any,
    plain: Any,
    adapters: list[Path],
    chosen: list[int],
    images: list[str],
    changes: dict[str, Any],
) -> None:
    bare = make_job(**STEPS, **changes)
    job = controlled(bare, CPU, [adapters[i] for i in chosen], images)
    found = drawn(loaded, job)
    assert np.array_equal(found, by_hand(plain, job))
    assert not np.array_equal(found, latents_of(loaded, bare))


def test_a_scale_of_zero_and_the_run_after_it_are_as_without(
    loaded: Any, adapters: list[Path]
) -> None:
    bare = make_job(**STEPS)
    before = latents_of(loaded, bare)
    none = controlled(bare, CPU, adapters[:1], ["a.png:0"])
    assert np.array_equal(drawn(loaded, none), before)
    drawn(loaded, controlled(bare, CPU, adapters[:1], ["a.png"]))
    assert np.array_equal(latents_of(loaded, bare), before)


def test_it_adds_to_a_controlnet(
    loaded: Any, plain: Any, adapters: list[Path], tmp_path: Path
) -> None:
    """Equal to the UNet called with the residuals of both, which no pipeline of Diffusers does."""
    network = make_controlnet(plain.unet)
    network.save_pretrained(tmp_path / "net")
    paths, images = [tmp_path / "net", adapters[0]], ["a.png:0.5", "b.png:0.8"]
    job = controlled(make_job(num_inference_steps=1, guidance_scale=1.0), CPU, paths, images)
    adapter = make_adapter(0)
    pictures = [
        torch.from_numpy(pixels[None].astype(np.float32) / 255).permute(0, 3, 1, 2)
        for pixels in pixels_for(job).first
    ]
    pipeline = diffusers.StableDiffusionPipeline(**plain.components, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    set_scheduler(pipeline, plain.config._name_or_path, job)
    original = plain.unet.forward

    @torch.no_grad()
    def forward(sample: Any, timestep: Any, **kwargs: Any) -> Any:
        down, middle = network(
            sample,
            timestep,
            encoder_hidden_states=kwargs["encoder_hidden_states"],
            controlnet_cond=pictures[0].contiguous(),
            conditioning_scale=0.5,
            return_dict=False,
        )
        states = [state * 0.8 for state in adapter(pictures[1])]
        return original(
            sample,
            timestep,
            **kwargs,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
            down_intrablock_additional_residuals=states,
        )

    plain.unet.forward = forward
    try:
        expected = pipeline(
            job.prompt,
            num_inference_steps=1,
            guidance_scale=1.0,
            height=64,
            width=64,
            generator=torch.Generator("cpu").manual_seed(job.seed),
            output_type="latent",
        ).images[0]
    finally:
        del plain.unet.forward
    assert np.array_equal(drawn(loaded, job), expected.numpy())


def test_images_of_a_batch_equal_those_alone(loaded: Any, adapters: list[Path]) -> None:
    from sdcli import engine

    jobs = [
        controlled(make_job(**STEPS, seed=seed, index=seed), CPU, adapters[:1], ["a.png"])
        for seed in (1, 2)
    ]
    results = engine.generate_batch(
        loaded, jobs, controls=pixels_for(jobs[0]), save_latents="final"
    )
    for job, result in zip(jobs, results, strict=True):
        assert result.latents is not None
        assert np.allclose(result.latents["final"], drawn(loaded, job), atol=1e-4)


FULL = {"adapter_type": "full_adapter", "in_channels": 3, "channels": [320, 640, 1280, 1280],
        "num_res_blocks": 2, "downscale_factor": 8}  # fmt: skip
LIGHT = {**FULL, "adapter_type": "light_adapter", "channels": [320, 640, 1280]}
XL = {**FULL, "adapter_type": "full_adapter_xl", "downscale_factor": 16}
SD1 = {"block_out_channels": [320, 640, 1280, 1280],
       "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"]}  # fmt: skip
SDXL = {"block_out_channels": [320, 640, 1280],
        "down_block_types": ["DownBlock2D"] + ["CrossAttnDownBlock2D"] * 2}  # fmt: skip


@pytest.mark.parametrize("config", [FULL, {**LIGHT, "in_channels": 1}, XL])
def test_tensors_of_published_sizes_are_those_of_diffusers(config: dict[str, Any]) -> None:
    with torch.device("meta"):
        state = diffusers.T2IAdapter(**config).state_dict()
    assert dict(_layout(config)) == {name: tuple(tensor.shape) for name, tensor in state.items()}


@pytest.mark.parametrize(("config", "unet"), [(FULL, SD1), (LIGHT, SD1), (XL, SDXL)])
def test_outputs_of_published_sizes_are_what_their_unets_take(
    config: dict[str, Any], unet: dict[str, Any]
) -> None:
    taken, middle = _inputs(unet)
    assert list(_outputs(config)) in (taken, [*taken, middle])
    others = [_inputs(one)[0] for one in (SD1, SDXL) if one is not unet]
    assert list(_outputs(config))[: len(others[0])] not in others


def test_stable_diffusion_xl_equals_diffusers(tmp_path: Path) -> None:
    from tests.engine.xl.conftest import load
    from tests.engine.xl.hand_calls import xl_job
    from tests.xl_models import write_xl_model

    folder = write_xl_model(tmp_path / "xl")
    path = write_adapter(tmp_path / "adapter", channels=[16, 32])
    loaded = load(folder)
    job = controlled(xl_job(**STEPS), loaded.spec, [path], ["a.png:0.8"])
    plain = diffusers.StableDiffusionXLPipeline.from_pretrained(folder, dtype=torch.float32)
    pipeline = diffusers.StableDiffusionXLAdapterPipeline(
        **plain.components,
        adapter=diffusers.T2IAdapter.from_pretrained(path, dtype=torch.float32),
        force_zeros_for_empty_prompt=plain.config.force_zeros_for_empty_prompt,
    )
    pipeline.set_progress_bar_config(disable=True)
    set_scheduler(pipeline, folder, job)
    expected = pipeline(
        job.prompt,
        image=Image.fromarray(pixels_for(job).first[0]),
        adapter_conditioning_scale=0.8,
        height=64,
        width=64,
        num_inference_steps=2,
        guidance_scale=job.guidance_scale,
        generator=torch.Generator("cpu").manual_seed(job.seed),
        output_type="latent",
    ).images[0]
    assert np.array_equal(drawn(loaded, job), expected.numpy())
