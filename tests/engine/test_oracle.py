"""`generate` equals the plain call of `StableDiffusionPipeline`, bit for bit."""

from __future__ import annotations

import json
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from sdcli import GenerationRequest, engine, generate
from sdcli.catalog.schedulers.resolve import SchedulerConfig, resolve_scheduler
from sdcli.catalog.schedulers.sampler_table import SAMPLERS
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from tests.engine.input_jobs import by_hand
from tests.jobs import CPU, make_job

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Should have t[ab]:UserWarning"),
]

# Options that a class needs, or that are worth testing. Other classes get none.
CLASS_OPTIONS: dict[str, dict[str, Any]] = {
    "PNDMScheduler": {"skip_prk_steps": True},
    "EulerDiscreteScheduler": {"timestep_spacing": "linspace", "use_karras_sigmas": True},
    "DPMSolverMultistepScheduler": {"use_karras_sigmas": True},
}
MODEL_SCHEDULER = diffusers.DPMSolverMultistepScheduler
CLASSES = list(dict.fromkeys(row.class_name for row in SAMPLERS))


def choice_of(class_name: str, options: dict[str, Any]) -> SchedulerConfig:
    """The options that a Diffusers user writes."""
    return SchedulerConfig(class_name=class_name, config=tuple(options.items()))


@pytest.mark.sample(4)
@pytest.mark.parametrize("class_name", CLASSES)
def test_every_scheduler_equals_diffusers(loaded: Any, plain: Any, class_name: str) -> None:
    options = CLASS_OPTIONS.get(class_name, {})
    job = make_job(scheduler=choice_of(class_name, options))
    [result] = engine.generate_batch(loaded, [job])
    assert np.array_equal(result.pixels, by_hand(plain, job))
    assert result.run.scheduler_class == class_name
    assert result.run.timesteps == tuple(float(t) for t in plain.scheduler.timesteps)


def test_the_defaults_equal_the_plain_call_on_the_model_s_folder() -> None:
    defaults = json.loads((EMBEDDED_FOLDER / "sdcli.json").read_text())
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(
        EMBEDDED_FOLDER, dtype=torch.float32
    )
    pipeline.set_progress_bar_config(disable=True)
    [theirs] = pipeline(
        "a red circle on a blue background",
        num_inference_steps=defaults["num_inference_steps"],
        guidance_scale=defaults["guidance_scale"],
        width=defaults["width"],
        height=defaults["height"],
        generator=torch.Generator("cpu").manual_seed(3),
    ).images
    request = GenerationRequest(prompt="a red circle on a blue background", seed=3, spec=CPU)
    [ours] = generate(request)
    assert np.array_equal(ours.pixels, np.asarray(theirs))


def test_the_model_s_scheduler_file_is_the_scheduler_that_its_defaults_name() -> None:
    defaults = json.loads((EMBEDDED_FOLDER / "sdcli.json").read_text())
    choice = resolve_scheduler(defaults["scheduler"]).choice
    index = json.loads((EMBEDDED_FOLDER / "model_index.json").read_text())
    assert index["scheduler"] == ["diffusers", choice.class_name]
    file = json.loads((EMBEDDED_FOLDER / "scheduler" / "scheduler_config.json").read_text())
    assert file.pop("_class_name") == choice.class_name
    own = MODEL_SCHEDULER.from_pretrained(EMBEDDED_FOLDER, subfolder="scheduler").config
    assert dict(choice.config).items() <= own.items()
    # Another class built from the file gets none of this solver's options.
    assert not dict(choice.config).keys() & file.keys()


EVEN = {"timestep_spacing": "linspace"}
KARRAS = {"use_karras_sigmas": True}
# A1111's names, as Diffusers' overview of schedulers translates them, except DPM++ SDE.
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


@pytest.mark.sample(4)
@pytest.mark.parametrize("name", TRANSLATED)
def test_a_sampler_name_equals_its_translation_to_diffusers(
    loaded: Any, plain: Any, name: str
) -> None:
    [result] = engine.generate_batch(loaded, [make_job(scheduler=resolve_scheduler(name).choice)])
    theirs = by_hand(plain, make_job(scheduler=choice_of(*TRANSLATED[name])))
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
def test_options_in_a_scheduler_name_are_those_of_the_constructor(
    loaded: Any, plain: Any, typed: str
) -> None:
    choice = resolve_scheduler(typed).choice
    [result] = engine.generate_batch(loaded, [make_job(scheduler=choice)])
    theirs = choice_of(str(choice.class_name), OPTIONS[typed])
    assert np.array_equal(result.pixels, by_hand(plain, make_job(scheduler=theirs)))


@pytest.mark.sample(5)
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
    assert np.array_equal(result.pixels, by_hand(plain, job))


def test_clip_skip_equals_diffusers(
    loaded: Any, plain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Diffusers 0.42 reads `.text_model`, which transformers 5.6 removed, so the test adds it."""
    if not hasattr(plain.text_encoder, "text_model"):
        cls = type(plain.text_encoder)
        monkeypatch.setattr(cls, "text_model", property(lambda self: self), raising=False)
    job = make_job(clip_skip=1)
    [result] = engine.generate_batch(loaded, [job])
    assert np.array_equal(result.pixels, by_hand(plain, job))
    [unskipped] = engine.generate_batch(loaded, [make_job()])
    assert not np.array_equal(result.pixels, unskipped.pixels)


def test_a_swapped_vae_equals_diffusers(plain: Any) -> None:
    from dataclasses import replace

    job = make_job(spec=replace(make_job().spec, vae="tiny"))
    [result] = engine.generate_batch(engine.load(job.spec), [job])
    folder = plain.config._name_or_path
    tiny = diffusers.AutoencoderTiny.from_pretrained(f"{folder}/vae_tiny", dtype=torch.float32)
    components = {**plain.components, "vae": tiny}
    swapped = diffusers.StableDiffusionPipeline(**components, requires_safety_checker=False)
    swapped.set_progress_bar_config(disable=True)
    swapped.config._name_or_path = folder
    assert np.array_equal(result.pixels, by_hand(swapped, job))
