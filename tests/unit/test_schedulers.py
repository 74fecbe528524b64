"""The sampler table: every name that people type, and every refusal."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdcli.catalog.schedulers import resolve
from sdcli.catalog.schedulers.samplers import SAMPLERS
from sdcli.catalog.schedulers.sigma_schedules import SCHEDULES
from sdcli.catalog.schedulers.unsupported import UNSUPPORTED, UNSUPPORTED_SCHEDULES
from sdcli.errors import UsageError


@pytest.fixture(autouse=True)
def all_packages(monkeypatch):
    """As if every extra package were there; one test below asks for their absence."""
    monkeypatch.setattr(resolve, "_require", lambda package, row: None)


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
def test_names_are_understood(typed, label, class_name):
    selection = resolve.resolve_scheduler(typed)
    assert selection.label == label
    assert class_name in (None, selection.choice.class_name)


@pytest.mark.parametrize("row", SAMPLERS, ids=lambda row: row.name)
def test_every_name_of_a_row_finds_it(row):
    for name in (row.name, *row.aliases):
        for typed in (name, name.upper(), name.replace("_", " "), name.replace(" ", "_")):
            assert resolve.resolve_scheduler(typed).sampler == row


@pytest.mark.parametrize("row", SAMPLERS, ids=lambda row: row.name)
def test_every_schedule_of_a_row_is_found_and_its_label_resolves_to_itself(row):
    for schedule in SCHEDULES:
        for name in (schedule.name, *schedule.aliases):
            if schedule.name in row.schedules:
                selection = resolve.resolve_scheduler(f"{row.name} {name}")
                assert selection.sampler == row
                if schedule.name == row.natural:
                    assert selection == resolve.resolve_scheduler(row.name)
                else:
                    assert dict(selection.choice.config).items() >= schedule.config.items()
                assert resolve.resolve_scheduler(selection.label) == selection
            else:
                why = row.unsupported_schedules.get(schedule.name, "would be ignored")
                with pytest.raises(UsageError, match=why):
                    resolve.resolve_scheduler(f"{row.name} {name}")


@pytest.mark.parametrize("word", ["Automatic", "Normal", "Uniform"])
@pytest.mark.parametrize("row", SAMPLERS, ids=lambda row: row.name)
def test_every_sampler_takes_the_words_that_other_programs_add(row, word):
    selection = resolve.resolve_scheduler(f"{row.name} {word}")
    expected = row.automatic if word == "Automatic" else "Normal"
    assert (selection.sampler, selection.schedule) == (row, expected)
    if expected == "Normal":
        assert selection == resolve.resolve_scheduler(row.name)


@pytest.mark.parametrize("name", ["DDIM", "DDIM Parallel", "DDPM", "DDPM Parallel", "PLMS"])
def test_ddim_and_its_kin_are_spaced_as_stable_diffusion_was_trained_for(name):
    config = dict(resolve.resolve_scheduler(name).choice.config)
    assert (config["timestep_spacing"], config["steps_offset"]) == ("leading", 1)


# The choices of its "Schedule type", version 1.10.
A1111_TYPES = (
    *("Automatic", "Uniform", "Karras", "Exponential", "Polyexponential", "SGM Uniform"),
    *("KL Optimal", "Align Your Steps", "Simple", "Normal", "DDIM", "Beta"),
)


@pytest.mark.parametrize("row", SAMPLERS, ids=lambda row: row.name)
def test_the_pair_for_a1111_means_there_what_it_meant_here(row):
    """A1111 takes a missing type for Automatic, as we take its word."""
    for schedule in row.schedules:
        selection = resolve.resolve_scheduler(f"{row.name} {schedule}")
        sampler, kind = resolve.a1111_names(row.class_name, dict(selection.choice.config))
        assert sampler == row.name
        assert resolve.resolve_scheduler(f"{sampler} {kind or 'Automatic'}") == selection
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
def test_the_schedule_type_is_a1111s_word(name, kind):
    choice = resolve.resolve_scheduler(name).choice
    assert resolve.a1111_names(choice.class_name, dict(choice.config))[1] == kind


def test_a_bare_class_on_a_model_that_is_spaced_as_ddim_is_told_so():
    as_built = {"algorithm_type": "dpmsolver++", "timestep_spacing": "leading", "steps_offset": 0}
    names = resolve.a1111_names("DPMSolverMultistepScheduler", as_built)
    assert names == ("DPM++ 2M", "DDIM")


def test_a_class_that_no_row_knows_keeps_its_name():
    assert resolve.a1111_names("FutureScheduler", {}) == ("FutureScheduler", None)


def test_a_class_name_adds_nothing():
    assert resolve.resolve_scheduler("DPMSolverMultistepScheduler").choice.config == ()


def test_a_schedule_switches_the_others_off():
    config = dict(resolve.resolve_scheduler("Euler Karras").choice.config)
    assert config["use_karras_sigmas"] is True
    assert config["use_exponential_sigmas"] is config["use_beta_sigmas"] is False


def test_the_table_names_schedules_that_exist():
    known = {schedule.name for schedule in SCHEDULES}
    for row in SAMPLERS:
        assert "Normal" in row.schedules
        assert {row.automatic, row.natural or "Normal"} <= set(row.schedules) <= known
        assert set(row.unsupported_schedules) <= known - set(row.schedules)


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_diffusers_cannot_do_names_the_nearest_that_it_can(name):
    with pytest.raises(UsageError) as caught:
        resolve.resolve_scheduler(name)
    assert caught.value.code == "scheduler.impossible"
    assert resolve.resolve_scheduler(UNSUPPORTED[name][1])


@pytest.mark.parametrize(
    ("typed", "why", "nearest"),
    [
        ("DDIM CFG++", "no CFG++", "DDIM"),
        ("dpmpp_2m_cfg_pp karras", "no CFG++", "DPM++ 2M Karras"),
        ("dpmpp_2s_ancestral_cfg_pp", "no CFG++", "DPM++ 2S"),
        ("res_multistep_cfg_pp", "no CFG++", "DPM++ 2M"),
        ("res_multistep_ancestral_cfg_pp", "no CFG++", "DPM++ 2M SDE"),
        ("gradient_estimation_cfg_pp", "no CFG++", "Euler"),
        ("DPM++ 2S a Karras", "deterministic kin", "DPM++ 2S Karras"),
        ("DPM++ 2S a Align Your Steps", "deterministic kin", "DPM++ 2S"),
        ("k_dpmpp_2s_a", "deterministic kin", "DPM++ 2S"),
        ("k_dpmpp_2s_a_ka", "deterministic kin", "DPM++ 2S Karras"),
        ("k_dpm_fast", "does not have it", "DPM++ 2S"),
        ("k_dpm_ad", "no adaptive step size", "DPM++ 2M"),
        ("dpm++2mv2 karras", "only the form", "DPM++ 2M Karras"),
        ("IPNDMScheduler", "not Stable Diffusion's", "DEIS"),
    ],
)
def test_names_of_other_programs_that_cannot_be_had(typed, why, nearest):
    with pytest.raises(UsageError, match=re.escape(why)) as caught:
        resolve.resolve_scheduler(typed)
    assert caught.value.code == "scheduler.impossible"
    assert caught.value.hint == f"the nearest is -s '{nearest}'"
    assert resolve.resolve_scheduler(nearest)


@pytest.mark.parametrize("name", UNSUPPORTED_SCHEDULES)
def test_a_schedule_that_no_option_gives_names_the_nearest(name):
    why, nearest = UNSUPPORTED_SCHEDULES[name]
    with pytest.raises(UsageError, match=re.escape(f"the {name} schedule: {why}")) as caught:
        resolve.resolve_scheduler(f"DPM++ 2M {name.lower().replace(' ', '_')}")
    assert caught.value.code == "scheduler.schedule"
    assert caught.value.hint.startswith(f"the nearest is -s 'DPM++ 2M {nearest}'; schedules of")
    assert resolve.resolve_scheduler(f"DPM++ 2M {nearest}")


@pytest.mark.parametrize("name", ["Automatic", "karras", "k", "sgm_uniform", "AYS", "beta57"])
def test_a_schedule_alone_is_told_to_need_a_sampler(name):
    with pytest.raises(UsageError, match="is a schedule, and needs a sampler before it") as caught:
        resolve.resolve_scheduler(name)
    example = re.match("as in -s '(.*)'; or leave --scheduler out", caught.value.hint)
    assert resolve.resolve_scheduler(example[1])


@pytest.mark.parametrize("name", ["", " ", "default", "none", "auto", "?"])
def test_the_models_own_is_had_by_leaving_the_option_out(name):
    with pytest.raises(UsageError) as caught:
        resolve.resolve_scheduler(name)
    assert caught.value.hint == "leave --scheduler out for the model's own"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("eulr", "Euler"),
        ("EulerDiscretScheduler", "EulerDiscreteScheduler"),
        ("DPM++2M Karas", "DPM++ 2M Karras"),
        ("DPM++ 2M Kerras", "DPM++ 2M Karras"),
        ("dpmpp_2m_sde_exponetial", "DPM++ 2M SDE Exponential"),
        ("eulr karras", "Euler Karras"),
        ("unipcc", "UniPC"),
    ],
)
def test_a_slip_is_told_what_was_meant_with_its_schedule(typed, meant):
    with pytest.raises(UsageError) as caught:
        resolve.resolve_scheduler(typed)
    assert caught.value.hint == f"did you mean {meant}?"
    assert resolve.resolve_scheduler(meant)


@pytest.mark.parametrize(
    ("typed", "code", "hint"),
    [
        ("quxx", "scheduler.unknown", "known: DPM++ 2M, "),
        ("quxx karras", "scheduler.unknown", "known: DPM++ 2M, "),
        ("Euler a Karras", "scheduler.schedule", "Karras works with DPM++ 2M"),
        ("Euler a AYS", "scheduler.schedule", "schedules of Euler a: Normal, SGM"),
        ("quxx_cfg_pp", "scheduler.impossible", "sdcli schedulers list"),
    ],
)
def test_refusals_say_what_would_work(typed, code, hint):
    with pytest.raises(UsageError) as caught:
        resolve.resolve_scheduler(typed)
    assert caught.value.code == code
    assert hint in (caught.value.hint or "")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="needs the package torchsde"):
        resolve.resolve_scheduler("DPM++ SDE")


@given(st.text(max_size=30))
def test_any_text_is_a_scheduler_or_a_usage_error(text):
    try:
        said = resolve.resolve_scheduler(text).label
    except UsageError as error:
        said = error.message
    assert said


@pytest.mark.parametrize(
    ("calls", "steps", "expected"),
    [("N", 5, 5), ("N+1", 5, 6), ("N+1", 1, 1), ("2N-1", 5, 9), ("2N-1", 1, 1)],
)
def test_unet_calls(calls, steps, expected):
    row = next(row for row in SAMPLERS if row.unet_call_formula == calls)
    assert row.unet_calls(steps) == expected


def test_completion_offers_words_that_need_no_quotes() -> None:
    from sdcli.catalog.schedulers.resolve import resolve_scheduler
    from sdcli.commands.options.flags import complete_scheduler

    assert {"euler", "euler_a", "euler_ancestral"} <= set(complete_scheduler("eul"))
    assert "EulerDiscreteScheduler" in complete_scheduler("Eul")
    offered = complete_scheduler("")
    assert all(" " not in name for name in offered)
    for name in offered:
        resolve_scheduler(name)
