"""The sampler table: every name that people type, and every refusal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdcli.catalog import schedulers
from sdcli.catalog.impossible import IMPOSSIBLE
from sdcli.catalog.samplers import SAMPLERS
from sdcli.catalog.schedules import SCHEDULES
from sdcli.errors import UsageError


@pytest.fixture(autouse=True)
def all_packages(monkeypatch):
    """As if every extra package were there; one test below asks for their absence."""
    monkeypatch.setattr(schedulers, "_require", lambda package, row: None)


@pytest.mark.parametrize(
    ("typed", "label", "class_name"),
    [
        ("DPM++ 2M Karras", "DPM++ 2M Karras", "DPMSolverMultistepScheduler"),
        ("dpmpp_2m_k", "DPM++ 2M Karras", "DPMSolverMultistepScheduler"),
        ("dpmpp_2m+karras", "DPM++ 2M Karras", "DPMSolverMultistepScheduler"),
        ("dpm 2m", "DPM++ 2M", "DPMSolverMultistepScheduler"),
        ("dpmsolver++", "DPM++ 2M", "DPMSolverMultistepScheduler"),
        ("dpmsolver", "DPM-Solver", "DPMSolverMultistepScheduler"),
        ("DPM++ 2M SDE Heun Exponential", "DPM++ 2M SDE Heun Exponential", None),
        ("dpmpp_sde_gpu", "DPM++ SDE", "DPMSolverSDEScheduler"),
        ("EULER", "Euler", "EulerDiscreteScheduler"),
        ("euler_ancestral", "Euler a", "EulerAncestralDiscreteScheduler"),
        ("k_euler_a", "Euler a", "EulerAncestralDiscreteScheduler"),
        ("euler_a simple", "Euler a SGM Uniform", "EulerAncestralDiscreteScheduler"),
        ("kdpm_2_a_k", "DPM2 a Karras", "KDPM2AncestralDiscreteScheduler"),
        ("dpm_2", "DPM2", "KDPM2DiscreteScheduler"),
        ("uni_pc_bh2", "UniPC", "UniPCMultistepScheduler"),
        ("pndm", "PLMS", "PNDMScheduler"),
        ("ddim", "DDIM", "DDIMScheduler"),
        ("DDIMScheduler", "DDIMScheduler", "DDIMScheduler"),
        ("EulerDiscrete", "EulerDiscreteScheduler", "EulerDiscreteScheduler"),
        ("EulerDiscreteScheduler Karras", "EulerDiscreteScheduler Karras", None),
        ("Euler Automatic", "Euler", "EulerDiscreteScheduler"),
        ("DPM++ 3M SDE Automatic", "DPM++ 3M SDE Exponential", None),
    ],
)
def test_names_are_understood(typed, label, class_name):
    selection = schedulers.resolve(typed)
    assert selection.label == label
    assert class_name in (None, selection.choice.class_name)


@pytest.mark.parametrize("row", SAMPLERS, ids=lambda row: row.name)
def test_every_name_of_a_row_finds_it(row):
    for name in (row.name, *row.aliases):
        for typed in (name, name.upper(), name.replace("_", " "), name.replace(" ", "_")):
            assert schedulers.resolve(typed).sampler == row


@pytest.mark.parametrize("row", SAMPLERS, ids=lambda row: row.name)
def test_every_schedule_of_a_row_is_found_and_its_label_resolves_to_itself(row):
    for schedule in SCHEDULES:
        for name in (schedule.name, *schedule.aliases):
            if schedule.name in row.schedules:
                selection = schedulers.resolve(f"{row.name} {name}")
                assert selection.sampler == row
                assert dict(selection.choice.config).items() >= schedule.config.items()
                assert schedulers.resolve(selection.label) == selection
            else:
                with pytest.raises(UsageError, match="would be ignored"):
                    schedulers.resolve(f"{row.name} {name}")


@pytest.mark.parametrize("row", SAMPLERS, ids=lambda row: row.name)
def test_the_pair_that_a1111_writes_names_the_row_again(row):
    for schedule in row.schedules or ("Normal",):
        choice = schedulers.resolve(f"{row.name} {schedule}" if row.schedules else row.name).choice
        names = schedulers.a1111_names(row.class_name, dict(choice.config))
        assert names == (row.name, None if schedule == "Normal" else schedule)


def test_a_class_that_no_row_knows_keeps_its_name():
    assert schedulers.a1111_names("FutureScheduler", {}) == ("FutureScheduler", None)


def test_a_class_name_adds_nothing():
    assert schedulers.resolve("DPMSolverMultistepScheduler").choice.config == ()


def test_a_schedule_switches_the_others_off():
    config = dict(schedulers.resolve("Euler Karras").choice.config)
    assert config["use_karras_sigmas"] is True
    assert config["use_exponential_sigmas"] is config["use_beta_sigmas"] is False


def test_the_table_names_schedules_that_exist():
    known = {schedule.name for schedule in SCHEDULES}
    for row in SAMPLERS:
        assert set(row.schedules) <= known
        assert not row.schedules or row.automatic in row.schedules


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_diffusers_cannot_do_names_the_nearest_that_it_can(name):
    with pytest.raises(UsageError) as caught:
        schedulers.resolve(name)
    assert caught.value.code == "scheduler.impossible"
    assert schedulers.resolve(IMPOSSIBLE[name][1])


@pytest.mark.parametrize(
    ("typed", "code", "hint"),
    [
        ("eulr", "scheduler.unknown", "did you mean Euler?"),
        ("quxx", "scheduler.unknown", "known: DPM++ 2M, "),
        ("Euler a Karras", "scheduler.schedule", "Karras works with DPM++ 2M"),
        ("Euler AYS", "scheduler.schedule", "schedules of Euler: Normal, Karras"),
        ("DPM++ 2S a Karras", "scheduler.impossible", "the nearest is -s 'DPM++ 2S'"),
    ],
)
def test_refusals_say_what_would_work(typed, code, hint):
    with pytest.raises(UsageError) as caught:
        schedulers.resolve(typed)
    assert caught.value.code == code
    assert hint in (caught.value.hint or "")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="needs the package torchsde"):
        schedulers.resolve("DPM++ SDE")


@given(st.text(max_size=30))
def test_any_text_is_a_scheduler_or_a_usage_error(text):
    try:
        said = schedulers.resolve(text).label
    except UsageError as error:
        said = error.message
    assert said


@pytest.mark.parametrize(
    ("calls", "steps", "expected"),
    [("N", 5, 5), ("N+1", 5, 6), ("N+1", 1, 1), ("2N-1", 5, 9), ("2N-1", 1, 1)],
)
def test_unet_calls(calls, steps, expected):
    row = next(row for row in SAMPLERS if row.calls == calls)
    assert row.unet_calls(steps) == expected
