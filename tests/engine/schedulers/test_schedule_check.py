"""Schedules are finite and fall, or are refused, whatever the model's file says."""

from __future__ import annotations

import contextlib
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sdcli.catalog.schedulers.class_options import CONSTRUCTORS
from sdcli.catalog.schedulers.first_step import repeated_first_timestep
from sdcli.catalog.schedulers.resolve import SchedulerConfig, resolve_scheduler
from sdcli.catalog.schedulers.run_start import known_late_start
from sdcli.catalog.schedulers.sampler_table import SAMPLERS
from sdcli.engine.runtime.diffusers_internals import scheduler_sigmas
from sdcli.engine.schedulers.build import build_scheduler
from sdcli.engine.schedulers.start_check import describe_late_start
from sdcli.errors import UsageError

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Should have t[ab]:UserWarning"),
]

SD = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "clip_sample": False,
}
ZERO_SNR = {**SD, "prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
FILES: dict[str, dict[str, Any]] = {
    "cosine": {**SD, "beta_schedule": "squaredcos_cap_v2"},
    "linear": {**SD, "beta_schedule": "linear", "timestep_spacing": "leading"},
    "zero SNR": {**ZERO_SNR, "timestep_spacing": "trailing"},
    "trained betas": {**SD, "trained_betas": torch.linspace(1e-4, 0.02, 1000).tolist()},
    "short": {**SD, "num_train_timesteps": 100, "timestep_spacing": "linspace"},
}


def step_counts(row: Any) -> tuple[int, ...]:
    """Numbers of steps to try."""
    # The noise of DPM++ SDE takes longer to draw than that of all the others.
    return (1, 3) if row.package == "torchsde" else (1, 3, 20)


def build_unless_refused(file: dict[str, Any], name: str, steps: int) -> Any:
    """The scheduler; None if it is refused, by an error that must say what would work."""
    hint: str | None
    try:
        return build(file, name, steps)
    except UsageError as error:
        hint = error.hint
    assert hint is not None
    return None


def build(file: dict[str, Any], name: str, steps: int) -> Any:
    choice = resolve_scheduler(name, file).choice
    return build_scheduler(SimpleNamespace(config=file), choice, steps=steps, seeds=[0])


@pytest.mark.sample(15)
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("row", SAMPLERS, ids=lambda row: row.name)
def test_every_schedule_is_finite_or_refused(row: Any, file: str) -> None:
    for schedule in row.schedules:
        for steps in step_counts(row):
            name = f"{row.name} {schedule}"
            scheduler = build_unless_refused(FILES[file], name, steps)
            if scheduler is None:
                continue
            assert torch.isfinite(scheduler.timesteps.float()).all()
            sigmas = scheduler_sigmas(scheduler)
            if sigmas is not None:
                levels = sigmas.float()
                assert torch.isfinite(levels).all()
                assert (levels[1:] <= levels[:-1]).all()


@pytest.mark.sample(12)
@pytest.mark.parametrize("steps", [999, 1000])
@pytest.mark.parametrize("row", SAMPLERS, ids=lambda row: row.name)
def test_as_many_steps_as_timesteps_work_or_are_refused(row: Any, steps: int) -> None:
    choice = resolve_scheduler(row.name, SD).choice
    base = SimpleNamespace(config=SD)
    with contextlib.suppress(UsageError):
        # DPM++ SDE would need minutes to draw the noise of a trial.
        scheduler = build_scheduler(
            base, choice, steps=steps, seeds=[0], try_run=row.package != "torchsde"
        )
        assert float(scheduler.timesteps[0]) >= 998


FIRST_STEPS = ("DPM++ 2M", "DPM++ 2S", "UniPC", "DEIS", "DPM2", "DPM2 a", "Euler")


@pytest.mark.sample(2)
@pytest.mark.parametrize("file", ["cosine", "trained betas"])
@pytest.mark.parametrize("name", FIRST_STEPS)
def test_planning_knows_which_schedules_repeat_their_first_timestep(name: str, file: str) -> None:
    [row] = [row for row in SAMPLERS if row.name == name]
    for schedule in row.schedules:
        for steps in (1, 2, 3, 4, 5, 6, 10, 50):
            chosen = resolve_scheduler(f"{name} {schedule}", FILES[file])
            try:
                build(FILES[file], f"{name} {schedule}", steps)
                twice = False
            except UsageError as error:
                twice = "comes twice" in error.message
            found = repeated_first_timestep(chosen.class_name, chosen.config, steps)
            assert (found is not None) is twice, (schedule, steps)


@pytest.mark.parametrize(
    ("file", "name", "steps", "reason"),
    [
        ("cosine", "DPM++ 2M Karras", 20, "comes twice"),
        ("cosine", "DPM++ 2S Beta", 5, "comes twice"),
        ("cosine", "UniPC Exponential", 20, "comes twice"),
        ("cosine", "DPM2 a", 5, "not numbers"),
        ("cosine", "Euler a SGM Uniform", 3, "not numbers"),
        ("zero SNR", "DPM++ 2M Beta", 20, "Beta schedule"),
        ("zero SNR", "UniPC Beta", 2, "Beta schedule"),
        ("short", "DPM++ 2M Beta", 20, "comes twice"),
        ("short", "DDIM", 101, "101"),
    ],
)
def test_an_impossible_schedule_is_refused_with_its_reason(
    file: str, name: str, steps: int, reason: str
) -> None:
    with pytest.raises(UsageError) as caught:
        build(FILES[file], name, steps)
    assert reason in caught.value.message
    assert caught.value.exit_code == 2
    assert caught.value.hint


@pytest.mark.parametrize("class_name", CONSTRUCTORS)
def test_a_class_of_the_models_own_is_checked_too(class_name: str) -> None:
    file = {**FILES["cosine"], "use_karras_sigmas": True, "algorithm_type": "none", "x": math.inf}
    base = SimpleNamespace(config=file)
    with contextlib.suppress(UsageError):
        build_scheduler(base, SchedulerConfig(class_name=class_name), steps=20, seeds=[0])


def late_start(file: dict[str, Any], name: str, steps: int) -> tuple[str, ...]:
    choice = resolve_scheduler(name, file).choice
    base = SimpleNamespace(config=file)
    scheduler = build_scheduler(base, choice, steps=steps, seeds=[0])
    return describe_late_start(base, choice, scheduler, steps, [0])


@pytest.mark.parametrize(
    ("name", "steps", "remedy"),
    [
        ("Euler", 1, "timestep_spacing=trailing"),
        ("Heun", 1, "timestep_spacing=trailing"),
        ("DPM2", 1, "timestep_spacing=trailing"),
        ("DDIM", 1, "timestep_spacing=trailing"),
        ("DDIM", 2, "timestep_spacing=trailing"),
        ("DDPM", 1, "timestep_spacing=trailing"),
        ("PLMS", 1, "timestep_spacing=trailing"),
        ("DDIM DDIM Uniform", 501, "timestep_spacing=trailing"),
        ("Euler Karras", 1, "timestep_spacing=trailing"),
        ("Euler Karras;sigma_max=2", 20, "leave sigma_max out"),
    ],
)
def test_a_run_that_does_not_begin_at_noise_warns_with_one_that_does(
    name: str, steps: int, remedy: str
) -> None:
    [warning] = late_start(SD, name, steps)
    assert remedy in warning
    assert "pure noise" in warning


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        *(("DDIM", n) for n in (4, 20, 500, 999)),
        *(("Euler", n) for n in (2, 20)),
        *(("Euler SGM Uniform", n) for n in (1, 2)),
        *(("DPM++ 2M", n) for n in (1, 20)),
        *(("LCM", n) for n in (1, 4)),
        *(("DPM++ 2S Karras", n) for n in (1, 20)),
    ],
)
def test_a_run_that_begins_at_noise_does_not_warn(name: str, steps: int) -> None:
    for file in (SD, FILES["zero SNR"], FILES["short"]):
        if steps < file["num_train_timesteps"]:
            assert late_start(file, name, steps) == ()


def test_without_a_spacing_that_helps_other_steps_are_named() -> None:
    file = {**SD, "timestep_spacing": "leading", "num_train_timesteps": 1000}
    base = SimpleNamespace(config=file)
    choice = SchedulerConfig(class_name="DDIMScheduler", config=(("timestep_spacing", "trailing"),))
    scheduler = build_scheduler(base, choice, steps=10, seeds=[0])
    scheduler.timesteps = scheduler.timesteps[5:]
    [warning] = describe_late_start(base, choice, scheduler, 10, [0])
    assert "try --steps 9" in warning


LATE = (
    "DDIM", "DDPM", "Euler", "Euler a", "Heun", "LMS", "DPM2", "DPM2 a", "PLMS", "DPM++ 2M",
    "Euler SGM Uniform", "Euler Karras;sigma_max=2",
)  # fmt: skip


@pytest.mark.sample(15)
@pytest.mark.parametrize("file", ["SD", "short", "zero SNR"])
@pytest.mark.parametrize("spacing", [None, "leading", "linspace", "trailing"])
@pytest.mark.parametrize("name", LATE)
def test_a_dry_run_tells_of_a_late_start_as_the_run_does(
    name: str, spacing: str | None, file: str
) -> None:
    options = {"SD": SD, **FILES}[file] | ({"timestep_spacing": spacing} if spacing else {})
    for steps in (1, 2, 51):
        chosen = resolve_scheduler(name, options)
        known = known_late_start(chosen.class_name, chosen.config, steps)
        try:
            told = late_start(options, name, steps)
        except UsageError:
            continue
        # Where other options move the beginning, only torch knows it.
        if known or (name in LATE[:9] and file in ("SD", "short")):
            assert told == ((known,) if known else ()), (steps, chosen.config)


def test_a_dry_run_knows_the_late_starts_of_many_steps() -> None:
    for name, steps, is_late in (("DDIM", 501, True), ("DDIM", 500, False), ("Euler", 1, True)):
        chosen = resolve_scheduler(f"{name};timestep_spacing=leading", SD)
        assert (known_late_start(chosen.class_name, chosen.config, steps) is not None) is is_late
