"""Scheduler names resolved to classes and options."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdcli.catalog.schedulers.resolve import a1111_names, model_scheduler, resolve_scheduler
from sdcli.catalog.schedulers.sampler_table import SAMPLERS
from sdcli.catalog.schedulers.sigma_schedules import SCHEDULES
from sdcli.errors import UsageError

pytestmark = pytest.mark.usefixtures("all_packages")


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
        ("k_dpmpp_2m", "DPM++ 2M", "DPMSolverMultistepScheduler"),
        ("k_dpmpp_2m_ka", "DPM++ 2M Karras", "DPMSolverMultistepScheduler"),
        ("k_dpmpp_sde_ka", "DPM++ SDE Karras", "DPMSolverSDEScheduler"),
        ("k_dpm_2_ka", "DPM2 Karras", "KDPM2DiscreteScheduler"),
        ("k_dpm_2_a_ka", "DPM2 a Karras", "KDPM2AncestralDiscreteScheduler"),
        ("k_lms_ka", "LMS Karras", "LMSDiscreteScheduler"),
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
        ("DDIM Uniform", "DDIM", "DDIMScheduler"),
        ("ddim normal", "DDIM", "DDIMScheduler"),
        ("ddim ddim_uniform", "DDIM", "DDIMScheduler"),
        ("ddim simple", "DDIM SGM Uniform", "DDIMScheduler"),
        ("ddim_trailing", "DDIM SGM Uniform", "DDIMScheduler"),
        ("plms sgm_uniform", "PLMS SGM Uniform", "PNDMScheduler"),
        ("lcm sgm_uniform", "LCM", "LCMScheduler"),
        ("TCD simple", "TCD", "TCDScheduler"),
        ("LCMScheduler simple", "LCMScheduler Normal", "LCMScheduler"),
        ("DDIMScheduler leading", "DDIMScheduler DDIM Uniform", "DDIMScheduler"),
        ("Euler DDIM", "Euler DDIM Uniform", "EulerDiscreteScheduler"),
        ("DDIM DDIM", "DDIM", "DDIMScheduler"),
    ],
)
def test_a_name_resolves_to_its_label_and_class(typed, label, class_name):
    selection = resolve_scheduler(typed)
    assert selection.label == label
    assert class_name in (None, selection.choice.class_name)


@pytest.mark.parametrize("row", SAMPLERS, ids=lambda row: row.name)
def test_a_row_resolves_with_each_schedule_that_it_lists_and_no_other(row):
    for schedule in SCHEDULES:
        for name in (schedule.name, *schedule.aliases):
            if schedule.name in row.schedules:
                selection = resolve_scheduler(f"{row.name} {name}")
                assert selection.sampler == row
                if schedule.name == row.default_schedule:
                    assert selection == resolve_scheduler(row.name)
                else:
                    assert dict(selection.choice.config).items() >= schedule.config.items()
                assert resolve_scheduler(selection.label) == selection
            else:
                why = row.unsupported_schedules.get(schedule.name, "would ignore it")
                with pytest.raises(UsageError, match=why):
                    resolve_scheduler(f"{row.name} {name}")


@pytest.mark.parametrize("word", ["Automatic", "Normal", "Uniform"])
@pytest.mark.parametrize("row", SAMPLERS, ids=lambda row: row.name)
def test_every_sampler_accepts_the_default_schedules_of_other_programs(row, word):
    selection = resolve_scheduler(f"{row.name} {word}")
    expected = row.automatic if word == "Automatic" else "Normal"
    assert (selection.sampler, selection.schedule) == (row, expected)
    if expected == "Normal":
        assert selection == resolve_scheduler(row.name)


@pytest.mark.parametrize("name", ["DDIM", "DDIM Parallel", "DDPM", "DDPM Parallel", "PLMS"])
def test_ddim_and_similar_samplers_have_the_spacing_of_stable_diffusion(name):
    config = dict(resolve_scheduler(name).choice.config)
    assert (config["timestep_spacing"], config["steps_offset"]) == ("leading", 1)


# The choices of "Schedule type" in A1111 1.10.
A1111_TYPES = (
    *("Automatic", "Uniform", "Karras", "Exponential", "Polyexponential", "SGM Uniform"),
    *("KL Optimal", "Align Your Steps", "Simple", "Normal", "DDIM", "Beta"),
)


@pytest.mark.parametrize("row", SAMPLERS, ids=lambda row: row.name)
def test_a1111_names_resolve_to_the_same_scheduler(row):
    """A1111 takes a missing schedule type for Automatic."""
    for schedule in row.schedules:
        selection = resolve_scheduler(f"{row.name} {schedule}")
        sampler, kind = a1111_names(row.class_name, dict(selection.choice.config))
        assert sampler == row.name
        assert resolve_scheduler(f"{sampler} {kind or 'Automatic'}") == selection
        assert kind in (None, "Lu", *A1111_TYPES)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("DPM++ 2M", "Uniform"),
        ("DPM++ 2M Karras", "Karras"),
        ("DPM++ 2M SDE", "Uniform"),
        ("Euler", None),
        ("Euler SGM Uniform", "SGM Uniform"),
        ("Euler DDIM Uniform", "DDIM"),
        ("DDIM", None),
        ("DDIM simple", "SGM Uniform"),
        ("LCM", None),
    ],
)
def test_the_schedule_type_has_the_name_that_a1111_uses(name, kind):
    choice = resolve_scheduler(name).choice
    assert a1111_names(choice.class_name, dict(choice.config))[1] == kind


def test_a_class_on_a_model_with_leading_timesteps_has_the_ddim_schedule_type():
    config = {"algorithm_type": "dpmsolver++", "timestep_spacing": "leading", "steps_offset": 0}
    names = a1111_names("DPMSolverMultistepScheduler", config)
    assert names == ("DPM++ 2M", "DDIM")


def test_a_class_outside_the_table_keeps_its_name():
    assert a1111_names("FutureScheduler", {}) == ("FutureScheduler", None)


def test_a_class_name_adds_nothing():
    assert resolve_scheduler("DPMSolverMultistepScheduler").choice.config == ()


def test_a_schedule_switches_the_flags_of_others_off():
    config = dict(resolve_scheduler("Euler Karras").choice.config)
    assert config["use_karras_sigmas"] is True
    assert config["use_exponential_sigmas"] is config["use_beta_sigmas"] is False


def test_the_models_own_scheduler_is_kept_as_it_is():
    own = model_scheduler("DPMSolverMultistepScheduler")
    assert own.choice.class_name is None
    assert own.label == "DPMSolverMultistepScheduler"
    assert own.sampler == SAMPLERS[0]
    other = model_scheduler("FutureScheduler")
    assert (other.sampler, other.order, other.max_steps) == (None, None, 1000)
    assert not other.is_stochastic
    assert not other.resumes_from_latents


@given(st.text(max_size=30))
def test_any_text_resolves_or_raises_a_usage_error(text):
    try:
        outcome = resolve_scheduler(text).label
    except UsageError as error:
        outcome = error.message
    assert outcome
