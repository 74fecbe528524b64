"""Schedulers are built from the model's configuration, and impossible choices are errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest

from sdcli.catalog.schedulers.resolve import SchedulerConfig
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.engine.schedulers.build import (
    build_scheduler,
    check_eta,
    load_scheduler,
    scheduler_class,
)
from sdcli.errors import ModelError, UsageError


@pytest.fixture(scope="module")
def base() -> Any:
    return load_scheduler(EMBEDDED_FOLDER)


def build(base: Any, class_name: str | None, steps: int = 4, **options: Any) -> Any:
    choice = SchedulerConfig(class_name=class_name, config=tuple(options.items()))
    return build_scheduler(base, choice, steps=steps, seeds=[1, 2])


def test_without_a_choice_it_is_a_new_scheduler_of_the_models_own_configuration(base: Any) -> None:
    built = build(base, None)
    assert type(built) is type(base)
    assert built is not base
    assert dict(built.config) == dict(base.config)
    assert (len(built.timesteps), base.num_inference_steps) == (4, None)


def test_options_override_the_models_configuration(base: Any) -> None:
    built = build(base, "DDIMScheduler", timestep_spacing="trailing")
    assert built.config.timestep_spacing == "trailing"
    assert built.config.beta_start == base.config.beta_start
    assert base.config.get("timestep_spacing") != "trailing"


@pytest.mark.parametrize("name", ["NoScheduler", "UNet2DConditionModel", "os", "", "Scheduler"])
def test_a_name_that_is_not_a_scheduler_of_diffusers_is_an_error(name: str) -> None:
    with pytest.raises(ModelError) as caught:
        scheduler_class(name)
    assert caught.value.code == "model.scheduler"


def test_a_folder_without_a_scheduler_class_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "scheduler").mkdir()
    (tmp_path / "scheduler" / "scheduler_config.json").write_text("{}")
    with pytest.raises(ModelError):
        load_scheduler(tmp_path)


@pytest.mark.parametrize(
    ("class_name", "steps", "options"),
    [
        ("DDIMScheduler", 4, {"solver_order": 3}),
        ("LCMScheduler", 51, {}),
        ("DDIMScheduler", 1001, {}),
        ("DPMSolverMultistepScheduler", 1000, {}),
        ("EulerDiscreteScheduler", 4, {"timestep_spacing": "odd"}),
    ],
)
def test_what_a_class_does_not_support_is_a_usage_error(
    base: Any, class_name: str, steps: int, options: dict[str, Any]
) -> None:
    with pytest.raises(UsageError) as caught:
        build(base, class_name, steps, **options)
    assert caught.value.code == "usage.scheduler"
    assert class_name in caught.value.message


def test_brownian_noise_gets_one_seed_per_image(base: Any) -> None:
    built = build(base, "DPMSolverSDEScheduler")
    assert built.config.noise_sampler_seed == [1, 2]


@pytest.mark.parametrize(
    ("cls", "takes_eta"),
    [
        (diffusers.DDIMScheduler, True),
        (diffusers.TCDScheduler, True),
        (diffusers.EulerDiscreteScheduler, False),
        (diffusers.EulerAncestralDiscreteScheduler, False),
    ],
)
def test_eta_is_an_error_where_the_scheduler_would_ignore_it(cls: Any, takes_eta: bool) -> None:
    scheduler = cls()
    check_eta(scheduler, 0.0)
    if takes_eta:
        check_eta(scheduler, 1.0)
        return
    with pytest.raises(UsageError) as caught:
        check_eta(scheduler, 1.0)
    assert caught.value.code == "usage.eta"
