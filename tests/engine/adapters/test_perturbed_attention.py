"""PAG equals the calls of Diffusers' own PAG pipelines bit for bit, and leaves nothing behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from sdcli import engine
from sdcli.catalog.schedulers.resolve import SchedulerConfig
from sdcli.engine.adapters.lora import applied_loras
from sdcli.input_images import ControlPixels
from sdcli.job import Job
from tests.controlnets import make_controlnet
from tests.engine.adapters.test_lora import job_of
from tests.engine.input_jobs import image_job, inputs_of, left_half, mask_job, picture
from tests.engine.recorded_latents import latents_of, record
from tests.engine.test_control_oracle import controlled
from tests.engine.test_ip_adapter_combined import shown_images
from tests.engine.test_ip_adapter_oracle import pictures, prompted, write_all
from tests.engine.xl.hand_calls import set_scheduler, xl_job
from tests.inpainting_model import make_inpainting_model
from tests.jobs import CPU, make_job
from tests.loras import write_kohya

STEPS = 2
PAG = {"pag_scale": 2.5, "num_inference_steps": STEPS}


def by_hand(
    plain: Any, job: Job, folder: Any, *, name: str = "StableDiffusionPAG", **own: Any
) -> Any:
    """Return the latents of the call that a Diffusers user would write."""
    is_xl = "XL" in name
    kind = "Inpaint" if job.mask else "Img2Img" if job.image else ""
    more = {} if is_xl else {"requires_safety_checker": False}
    networks = {"controlnet": own.pop("controlnet")} if "controlnet" in own else {}
    pipeline = getattr(diffusers, f"{name}{kind}Pipeline")(**plain.components, **networks, **more)
    pipeline.set_progress_bar_config(disable=True)
    set_scheduler(pipeline, folder, job)
    size, arguments = {"height": job.height, "width": job.width}, dict[str, Any]()
    if job.image:
        arguments = {"image": Image.fromarray(picture()), "strength": job.strength}
    if job.mask:
        arguments |= {"mask_image": Image.fromarray(left_half().astype(np.uint8) * 255)}
    if kind != "Img2Img":
        arguments |= size
    if not (job.image or networks):
        arguments |= {"guidance_rescale": job.guidance_rescale}
    latents: torch.Tensor = pipeline(
        job.prompt,
        **arguments,
        **own,
        negative_prompt=job.negative_prompt or None,
        pag_scale=job.pag_scale,
        num_inference_steps=job.num_inference_steps,
        guidance_scale=job.guidance_scale,
        generator=torch.Generator("cpu").manual_seed(job.seed),
        output_type="latent",
    ).images
    array: np.ndarray = latents[0].numpy()
    return array


def drawn(loaded: Any, job: Job, **more: Any) -> np.ndarray:
    return latents_of(loaded, job, inputs=inputs_of(job) if job.image else None, **more)


def heun() -> dict[str, Any]:
    return {"scheduler": SchedulerConfig(class_name="HeunDiscreteScheduler")}


@pytest.mark.parametrize(
    ("make", "changes"),
    [
        (make_job, {}),
        (make_job, {"guidance_scale": 1.0}),
        (make_job, {"guidance_rescale": 0.7, "negative_prompt": "red", **heun()}),
        (image_job, {}),
        (image_job, {"guidance_scale": 1.0}),
        (mask_job, {}),
    ],
)
def test_it_equals_diffusers(loaded: Any, plain: Any, make: Any, changes: dict[str, Any]) -> None:
    job = make(**PAG, **changes)
    found = drawn(loaded, job)
    assert np.array_equal(found, by_hand(plain, job, plain.config._name_or_path))
    assert not np.array_equal(found, drawn(loaded, make(**{**PAG, "pag_scale": 0.0}, **changes)))


def test_an_inpainting_model_equals_diffusers(tmp_path: Path) -> None:
    from tests.engine.xl.conftest import load

    folder = make_inpainting_model(tmp_path / "inpaint")
    plain = diffusers.StableDiffusionInpaintPipeline.from_pretrained(
        folder, dtype=torch.float32, safety_checker=None, requires_safety_checker=False
    )
    job = mask_job(**PAG)
    assert np.array_equal(drawn(load(folder), job), by_hand(plain, job, folder))


def test_it_leaves_nothing_behind(loaded: Any) -> None:
    unet, job = loaded.pipeline.unet, make_job(num_inference_steps=STEPS)
    own, before = unet.attn_processors, latents_of(loaded, job)
    latents_of(loaded, make_job(**PAG))
    assert unet.attn_processors == own
    assert "forward" not in vars(unet)
    assert np.array_equal(latents_of(loaded, job), before)

    def stop(event: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.generate_batch(loaded, [make_job(**PAG)], on_step=stop)
    assert unet.attn_processors == own
    assert np.array_equal(latents_of(loaded, job), before)


def test_a_lora_and_it_equal_diffusers_with_the_changed_weights(
    loaded: Any, plain: Any, tmp_path: Path
) -> None:
    lora = job_of((write_kohya(loaded.pipeline).save(tmp_path / "a.safetensors"), "0.8"))
    job = replace(lora, **PAG)
    found = latents_of(loaded, job)
    with applied_loras(loaded, lora):
        expected = by_hand(loaded.pipeline, job, plain.config._name_or_path)
    assert np.array_equal(found, expected)
    assert not np.array_equal(found, latents_of(loaded, make_job(**PAG)))


def test_images_of_a_batch_equal_those_alone(loaded: Any) -> None:
    jobs = [make_job(**PAG, seed=seed, index=seed, prompt=p) for seed, p in enumerate(("a", "b"))]
    together = engine.generate_batch(loaded, jobs, save_latents="final")
    for job, result in zip(jobs, together, strict=True):
        alone = latents_of(loaded, job)
        assert np.allclose(result.latents["final"], alone, atol=1e-4)


def test_guidance_may_begin_and_end_within_the_run(loaded: Any) -> None:
    """The unguided steps have PAG, too, as a callback of Diffusers could not have it."""
    changes = {"num_inference_steps": 4, "pag_scale": 2.5}
    whole = record(loaded, make_job(**changes, guidance_scale=1.0))[1]
    late = record(loaded, make_job(**changes, guidance_from=0.5))[1]
    for step in (1, 2):
        assert np.array_equal(whole.tensor("xt", step), late.tensor("xt", step))
    assert not np.array_equal(whole.tensor("xt", 3), late.tensor("xt", 3))


def test_a_run_is_resumed_with_it(loaded: Any) -> None:
    job = make_job(**{**PAG, "num_inference_steps": 3})
    result, source = record(loaded, job)
    start = engine.find_resume_point(loaded, job, job, source, 2)
    assert np.array_equal(latents_of(loaded, job, start=start), result.latents["final"])


def test_controlnets_see_the_perturbed_rows_as_in_diffusers(
    loaded: Any, plain: Any, tmp_path: Path
) -> None:
    network = make_controlnet(plain.unet)
    network.save_pretrained(tmp_path / "net")
    job = controlled(make_job(**PAG), CPU, [tmp_path / "net"], ["edges.png:0.8"])
    control = picture(20)
    found = drawn(loaded, job, controls=ControlPixels(first=[control]))
    expected = by_hand(
        plain,
        job,
        plain.config._name_or_path,
        name="StableDiffusionControlNetPAG",
        controlnet=network,
        image=Image.fromarray(control),
        controlnet_conditioning_scale=0.8,
    )
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("guidance", [3.0, 1.0])
def test_image_prompts_are_repeated_as_in_diffusers(
    loaded: Any, plain: Any, tmp_path: Path, guidance: float
) -> None:
    from tests.engine.test_ip_adapter_combined import showing

    files = write_all(plain.unet, tmp_path)
    bare = make_job(**PAG, guidance_scale=guidance)
    job = prompted(bare, CPU, files, ["plain.safetensors"], "one.png:0.6")
    found = drawn(loaded, job, image_prompts=pictures(job))
    own = plain.unet.attn_processors
    try:
        pipeline = showing(plain, diffusers.StableDiffusionPAGPipeline, job,
                           requires_safety_checker=False)  # fmt: skip
        set_scheduler(pipeline, plain.config._name_or_path, job)
        expected = pipeline(
            job.prompt,
            ip_adapter_image=[shown_images(job)[0]],
            pag_scale=job.pag_scale,
            num_inference_steps=STEPS,
            guidance_scale=guidance,
            height=64,
            width=64,
            generator=torch.Generator("cpu").manual_seed(job.seed),
            output_type="latent",
        ).images[0]
        pipeline.unload_ip_adapter()
    finally:
        plain.unet.set_attn_processor(dict(own))
    assert np.array_equal(found, expected.numpy())


def test_stable_diffusion_xl_equals_diffusers(tmp_path: Path) -> None:
    from tests.engine.xl.conftest import load
    from tests.xl_models import write_xl_model

    folder = write_xl_model(tmp_path / "xl")
    job = xl_job(**PAG, guidance_rescale=0.5)
    plain = diffusers.StableDiffusionXLPipeline.from_pretrained(folder, dtype=torch.float32)
    found = latents_of(load(folder), job)
    assert np.array_equal(found, by_hand(plain, job, folder, name="StableDiffusionXLPAG"))
