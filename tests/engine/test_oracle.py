"""The oracle: `generate` equals the plain `StableDiffusionPipeline` call, bit for bit."""

from __future__ import annotations

import json
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from sdcli import GenerationRequest, engine, generate
from sdcli.catalog.schedulers.resolve import SchedulerConfig, resolve_scheduler
from sdcli.catalog.schedulers.samplers import SAMPLERS
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.job import Job
from tests.jobs import CPU, make_job

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Should have t[ab]:UserWarning"),
]

# What a class needs said, or is worth saying; all others are held as they are.
SAID: dict[str, dict[str, Any]] = {
    "PNDMScheduler": {"skip_prk_steps": True},
    "EulerDiscreteScheduler": {"timestep_spacing": "linspace", "use_karras_sigmas": True},
    "DPMSolverMultistepScheduler": {"use_karras_sigmas": True},
}
OWN = diffusers.DPMSolverMultistepScheduler
CLASSES = list(dict.fromkeys(row.class_name for row in SAMPLERS))


def expected(plain: Any, job: Job) -> np.ndarray:
    """The pixels (height, width, 3) of the call that a Diffusers user would write."""
    folder = plain.config._name_or_path
    pristine = OWN.from_pretrained(folder, subfolder="scheduler")
    cls = getattr(diffusers, str(job.scheduler.class_name))
    plain.scheduler = cls.from_config(pristine.config, **dict(job.scheduler.config))
    image = plain(
        job.prompt,
        negative_prompt=job.negative_prompt or None,
        height=job.height,
        width=job.width,
        num_inference_steps=job.num_inference_steps,
        guidance_scale=job.guidance_scale,
        guidance_rescale=job.guidance_rescale,
        eta=job.eta,
        clip_skip=job.clip_skip,
        generator=torch.Generator("cpu").manual_seed(job.seed),
        output_type="pil",
    ).images[0]
    return np.asarray(image)


def by_hand(class_name: str, config: dict[str, Any], seed: int = 7) -> SchedulerConfig:
    """What a Diffusers user says; DPMSolverSDE's noise has a seed of its own, which we give it."""
    own = {"noise_sampler_seed": seed} if class_name == "DPMSolverSDEScheduler" else {}
    return SchedulerConfig(class_name=class_name, config=tuple({**own, **config}.items()))


@pytest.mark.parametrize("class_name", CLASSES)
def test_every_scheduler_equals_diffusers(loaded: Any, plain: Any, class_name: str) -> None:
    said = SAID.get(class_name, {})
    choice = SchedulerConfig(class_name=class_name, config=tuple(said.items()))
    [result] = engine.generate_batch(loaded, [make_job(scheduler=choice)])
    theirs = expected(plain, make_job(scheduler=by_hand(class_name, said)))
    assert np.array_equal(result.pixels, theirs)
    assert result.run.scheduler_class == class_name
    assert result.run.timesteps == tuple(float(t) for t in plain.scheduler.timesteps)


def test_the_default_picture_is_the_plain_call_on_the_folder_as_it_is() -> None:
    said = json.loads((EMBEDDED_FOLDER / "sdcli.json").read_text())
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(
        EMBEDDED_FOLDER, dtype=torch.float32
    )
    pipeline.set_progress_bar_config(disable=True)
    [theirs] = pipeline(
        "a red circle on a blue background",
        num_inference_steps=said["num_inference_steps"],
        guidance_scale=said["guidance_scale"],
        width=said["width"],
        height=said["height"],
        generator=torch.Generator("cpu").manual_seed(3),
    ).images
    request = GenerationRequest(prompt="a red circle on a blue background", seed=3, spec=CPU)
    [ours] = generate(request)
    assert np.array_equal(ours.pixels, np.asarray(theirs))


def test_the_folder_s_scheduler_is_the_one_that_its_defaults_name() -> None:
    said = json.loads((EMBEDDED_FOLDER / "sdcli.json").read_text())
    choice = resolve_scheduler(said["scheduler"]).choice
    index = json.loads((EMBEDDED_FOLDER / "model_index.json").read_text())
    assert index["scheduler"] == ["diffusers", choice.class_name]
    file = json.loads((EMBEDDED_FOLDER / "scheduler" / "scheduler_config.json").read_text())
    assert file.pop("_class_name") == choice.class_name
    own = OWN.from_pretrained(EMBEDDED_FOLDER, subfolder="scheduler").config
    assert dict(choice.config).items() <= own.items()
    # Another class made from the file has none of this solver's ways.
    assert not dict(choice.config).keys() & file.keys()


EVEN = {"timestep_spacing": "linspace"}
KARRAS = {"use_karras_sigmas": True}
# A1111's names as Diffusers' overview of schedulers translates them, but for DPM++ SDE.
TRANSLATED: dict[str, tuple[str, dict[str, Any]]] = {
    "DPM++ 2M": ("DPMSolverMultistepScheduler", EVEN),
    "DPM++ 2M Karras": ("DPMSolverMultistepScheduler", KARRAS),
    "DPM++ 2M SDE Karras": (
        "DPMSolverMultistepScheduler",
        {"algorithm_type": "sde-dpmsolver++", **KARRAS},
    ),
    "DPM++ 3M SDE Exponential": (
        "DPMSolverMultistepScheduler",
        {"algorithm_type": "sde-dpmsolver++", "solver_order": 3, "use_exponential_sigmas": True},
    ),
    "DPM++ SDE Karras": ("DPMSolverSDEScheduler", EVEN | KARRAS),
    "DPM2 a Karras": ("KDPM2AncestralDiscreteScheduler", EVEN | KARRAS),
    "DPM2 Karras": ("KDPM2DiscreteScheduler", EVEN | KARRAS),
    "Euler": ("EulerDiscreteScheduler", EVEN),
    "Euler a": ("EulerAncestralDiscreteScheduler", EVEN),
    "Heun": ("HeunDiscreteScheduler", EVEN),
    "LMS Karras": ("LMSDiscreteScheduler", EVEN | KARRAS),
    "UniPC": ("UniPCMultistepScheduler", EVEN),
    "DEIS": ("DEISMultistepScheduler", EVEN),
    "DDIM": ("DDIMScheduler", {}),
    "DDIM SGM Uniform": ("DDIMScheduler", {"timestep_spacing": "trailing"}),
    "PLMS": ("PNDMScheduler", {"skip_prk_steps": True}),
    "LCM": ("LCMScheduler", {}),
}


@pytest.mark.parametrize("name", TRANSLATED)
def test_a_name_is_what_a_diffusers_user_writes_for_it(loaded: Any, plain: Any, name: str) -> None:
    [result] = engine.generate_batch(loaded, [make_job(scheduler=resolve_scheduler(name).choice)])
    theirs = expected(plain, make_job(scheduler=by_hand(*TRANSLATED[name])))
    assert np.array_equal(result.pixels, theirs)


OPTIONS: dict[str, dict[str, Any]] = {
    "DPMSolverMultistepScheduler;solver_order=3": {"solver_order": 3},
    "DPMSolverMultistepScheduler;algorithm_type=sde-dpmsolver++": {
        "algorithm_type": "sde-dpmsolver++"
    },
    "DPMSolverMultistepScheduler Lu": {
        **dict.fromkeys(("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"), False),
        "use_lu_lambdas": True,
    },
    "DDIMScheduler;timestep_spacing=trailing;rescale_betas_zero_snr=true": {
        "timestep_spacing": "trailing",
        "rescale_betas_zero_snr": True,
    },
    "EulerDiscreteScheduler;final_sigmas_type=sigma_min": {"final_sigmas_type": "sigma_min"},
    "EulerDiscreteScheduler;use_beta_sigmas=true": {
        **dict.fromkeys(("use_karras_sigmas", "use_exponential_sigmas"), False),
        "use_beta_sigmas": True,
    },
    "UniPCMultistepScheduler;prediction_type=epsilon": {"prediction_type": "epsilon"},
}


@pytest.mark.parametrize("typed", OPTIONS)
def test_options_said_in_a_name_are_the_constructors(loaded: Any, plain: Any, typed: str) -> None:
    choice = resolve_scheduler(typed).choice
    [result] = engine.generate_batch(loaded, [make_job(scheduler=choice)])
    theirs = by_hand(str(choice.class_name), OPTIONS[typed])
    assert np.array_equal(result.pixels, expected(plain, make_job(scheduler=theirs)))


@pytest.mark.parametrize(
    "changes",
    [
        {"guidance_scale": 1.0},
        {"guidance_scale": 0.0},
        {"negative_prompt": "a red background"},
        {"guidance_rescale": 0.7},
        {"eta": 1.0},
        {"width": 128, "height": 96},
        {"prompt": ""},
        {"prompt": "a cat " * 60},
        {"seed": 2**63 - 1},
    ],
    ids=lambda changes: next(iter(changes)) + "=" + str(next(iter(changes.values())))[:8],
)
def test_every_argument_equals_diffusers(loaded: Any, plain: Any, changes: dict[str, Any]) -> None:
    job = make_job(**changes)
    [result] = engine.generate_batch(loaded, [job])
    assert np.array_equal(result.pixels, expected(plain, job))


def test_clip_skip_equals_what_diffusers_means(
    loaded: Any, plain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Diffusers 0.42 looks for `.text_model`, which transformers 5.6 dropped: lend it one."""
    if not hasattr(plain.text_encoder, "text_model"):
        cls = type(plain.text_encoder)
        monkeypatch.setattr(cls, "text_model", property(lambda self: self), raising=False)
    job = make_job(clip_skip=1)
    [result] = engine.generate_batch(loaded, [job])
    assert np.array_equal(result.pixels, expected(plain, job))
    [unskipped] = engine.generate_batch(loaded, [make_job()])
    assert not np.array_equal(result.pixels, unskipped.pixels)


def test_a_swapped_vae_equals_diffusers(plain: Any) -> None:
    from dataclasses import replace

    job = make_job(spec=replace(make_job().spec, vae="tiny"))
    [result] = engine.generate_batch(engine.load(job.spec), [job])
    folder = plain.config._name_or_path
    tiny = diffusers.AutoencoderTiny.from_pretrained(f"{folder}/vae_tiny", dtype=torch.float32)
    parts = {**plain.components, "vae": tiny}
    swapped = diffusers.StableDiffusionPipeline(**parts, requires_safety_checker=False)
    swapped.set_progress_bar_config(disable=True)
    swapped.config._name_or_path = folder
    assert np.array_equal(result.pixels, expected(swapped, job))
