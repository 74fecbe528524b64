"""The option table equals the constructors of Diffusers, and every option has an effect."""

from __future__ import annotations

import inspect
from itertools import product
from typing import Any

import diffusers
import pytest
import torch

from sdcli.catalog.schedulers.class_options import CONSTRUCTORS, VARIANCE_EXPLODING
from sdcli.catalog.schedulers.option_info import OPTION_INFO, option_info
from sdcli.catalog.schedulers.resolve import resolve_scheduler
from sdcli.catalog.schedulers.sampler_table import SAMPLERS
from sdcli.catalog.schedulers.unsupported import UNSUPPORTED
from sdcli.engine.schedulers.build import scheduler_class
from sdcli.engine.schedulers.construct import construct, pickle_settings
from sdcli.errors import UsageError

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Should have t[ab]:UserWarning"),
]

BASE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "prediction_type": "v_prediction",
}
# Other options that an option needs to have any effect, from the hints of its error messages.
COMPANIONS = {
    "clip_sample_range": "clip_sample=true",
    "dynamic_thresholding_ratio": "thresholding=true;sample_max_value=1.5",
    "sample_max_value": "thresholding=true",
    "steps_offset": "timestep_spacing=leading",
    "euler_at_final": "final_sigmas_type=sigma_min",
    "lower_order_final": "final_sigmas_type=sigma_min",
    "algorithm_type": "final_sigmas_type=sigma_min",
    "solver_type": "final_sigmas_type=sigma_min",
    "predict_x0": "final_sigmas_type=sigma_min",
}
NUMBERS = {
    "beta_start": 0.001,
    "beta_end": 0.02,
    "clip_sample_range": 0.4,
    "dynamic_thresholding_ratio": 0.3,
    "sample_max_value": 1.2,
    "sigma_min": 0.2,
    "sigma_max": 8.0,
    "lambda_min_clipped": -1.0,
    "original_inference_steps": 100,
    "timestep_scaling": 0.1,
}
STEPS = (5, 16, 2)


@pytest.mark.parametrize("class_name", CONSTRUCTORS)
def test_the_table_equals_the_constructors(class_name: str) -> None:
    parameters = inspect.signature(getattr(diffusers, class_name).__init__).parameters
    theirs = {name: p.default for name, p in parameters.items() if name != "self"}
    ours = {k: [] if v == () else v for k, v in CONSTRUCTORS[class_name].items()}
    assert ours == theirs


def test_every_option_of_every_class_is_described() -> None:
    assert {row.class_name for row in SAMPLERS} == set(CONSTRUCTORS)
    assert {key for options in CONSTRUCTORS.values() for key in options} == set(OPTION_INFO)
    for class_name, options in CONSTRUCTORS.items():
        for key in options:
            known = option_info(class_name, key)
            assert known.description
            assert bool(known.accepted) != bool(known.fixed_reason), (class_name, key)


def test_every_scheduler_of_diffusers_is_in_the_table_or_has_a_reason_not_to_be() -> None:
    theirs = {
        name
        for name in dir(diffusers)
        if name.endswith("Scheduler") and "Flax" not in name and name != "SchedulerMixin"
    }
    refused = {name for name in UNSUPPORTED if name.endswith("Scheduler")}
    assert theirs == set(CONSTRUCTORS) | refused


def denoise(text: str, steps: int) -> torch.Tensor:
    """Run from fixed noise, with a stand-in for the UNet that depends on latents and time."""
    choice = resolve_scheduler(text).choice
    cls = scheduler_class(choice.class_name or "")
    seeds = {"noise_sampler_seed": 3} if cls.__name__ == "DPMSolverSDEScheduler" else {}
    scheduler = construct(cls, pickle_settings(BASE, {**dict(choice.config), **seeds}))
    scheduler.set_timesteps(steps)
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn(1, 4, 4, 4, generator=generator) * scheduler.init_noise_sigma
    takes = inspect.signature(scheduler.step).parameters
    extra = {"generator": generator} if "generator" in takes else {}
    for t in scheduler.timesteps:
        seen = scheduler.scale_model_input(sample, t)
        out = torch.tanh(seen.roll(1, 1) + 0.001 * float(t)) - 0.3 * seen
        sample = scheduler.step(out, t, sample, **extra)[0]
    return sample


def values(class_name: str, key: str) -> list[object]:
    takes = option_info(class_name, key).accepted
    if not takes:
        return []
    if isinstance(takes[0], str):
        return list(takes)
    return [NUMBERS[key]] if key in NUMBERS else list(range(int(takes[0]), int(takes[1]) + 1))


@pytest.mark.sample(6)
@pytest.mark.parametrize("row", SAMPLERS, ids=lambda row: row.name)
@pytest.mark.filterwarnings("ignore:.*algorithm_type:FutureWarning")
def test_every_accepted_option_changes_the_run(row: Any) -> None:
    ran: dict[tuple[str, int], torch.Tensor] = {}

    def run(text: str, steps: int) -> torch.Tensor:
        if (text, steps) not in ran:
            ran[text, steps] = denoise(text, steps)
            assert torch.isfinite(ran[text, steps]).all(), text
        return ran[text, steps]

    accepted, idle = 0, []
    for key, schedule in product(CONSTRUCTORS[row.class_name], row.schedules[:2]):
        if key.startswith("use_"):
            continue
        for companion in {"", COMPANIONS.get(key, "")}:
            before = f"{row.name} {schedule};{companion}".replace(" ;", ";")
            for value in values(row.class_name, key):
                try:
                    base, after = (
                        resolve_scheduler(before),
                        resolve_scheduler(f"{before};{key}={value}"),
                    )
                except UsageError:
                    continue
                if base.choice == after.choice or is_as_before(row.class_name, key, value):
                    continue
                accepted += 1
                if all(torch.equal(run(before, n), run(after.label, n)) for n in STEPS):
                    idle.append(after.label)
    assert not idle
    assert accepted >= 3


def is_as_before(class_name: str, key: str, value: object) -> bool:
    """Return whether the value is the default, or already that of the base."""
    default = CONSTRUCTORS[class_name][key]
    return str(value).lower() == str(BASE.get(key, default)).lower()


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_variance_exploding_classes_scale_the_input_of_the_unet(name: str) -> None:
    if name == "DPMSolverSDEScheduler":
        pytest.importorskip("torchsde")
    scheduler = getattr(diffusers, name)(**BASE)
    scheduler.set_timesteps(4)
    latents = torch.ones(1)
    scaled = scheduler.scale_model_input(latents, scheduler.timesteps[0])
    assert bool(scaled < 0.5) == (name in VARIANCE_EXPLODING)
    assert bool(scaled == 1) == (name not in VARIANCE_EXPLODING)
