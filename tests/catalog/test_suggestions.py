"""Errors for names that cannot be used, and their suggestions."""

from __future__ import annotations

import re

import pytest

from sdcli.catalog.schedulers.resolve import resolve_scheduler
from sdcli.catalog.schedulers.unsupported import UNSUPPORTED, UNSUPPORTED_SCHEDULES
from sdcli.errors import UsageError

pytestmark = pytest.mark.usefixtures("all_packages")


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_an_unsupported_sampler_is_refused_with_the_nearest_supported_one(name):
    with pytest.raises(UsageError) as caught:
        resolve_scheduler(name)
    assert caught.value.code == "scheduler.impossible"
    assert resolve_scheduler(UNSUPPORTED[name][1])


@pytest.mark.parametrize(
    ("typed", "why", "nearest"),
    [
        ("DDIM CFG++", "no CFG++", "DDIM"),
        ("dpmpp_2m_cfg_pp karras", "no CFG++", "DPM++ 2M Karras"),
        ("dpmpp_2s_ancestral_cfg_pp", "no CFG++", "DPM++ 2S"),
        ("res_multistep_cfg_pp", "no CFG++", "DPM++ 2M"),
        ("res_multistep_ancestral_cfg_pp", "no CFG++", "DPM++ 2M SDE"),
        ("gradient_estimation_cfg_pp", "no CFG++", "Euler"),
        ("DPM++ 2S a Karras", "deterministic variant", "DPM++ 2S Karras"),
        ("DPM++ 2S a Align Your Steps", "deterministic variant", "DPM++ 2S"),
        ("k_dpmpp_2s_a", "deterministic variant", "DPM++ 2S"),
        ("k_dpmpp_2s_a_ka", "deterministic variant", "DPM++ 2S Karras"),
        ("k_dpm_fast", "does not have it", "DPM++ 2S"),
        ("k_dpm_ad", "no adaptive step size", "DPM++ 2M"),
        ("dpm++2mv2 karras", "only the sampler", "DPM++ 2M Karras"),
        ("IPNDMScheduler", "not those of Stable Diffusion", "DEIS"),
    ],
)
def test_unsupported_names_of_other_programs_are_explained(typed, why, nearest):
    with pytest.raises(UsageError, match=re.escape(why)) as caught:
        resolve_scheduler(typed)
    assert caught.value.code == "scheduler.impossible"
    assert caught.value.hint == f"the nearest is -s '{nearest}'"
    assert resolve_scheduler(nearest)


@pytest.mark.parametrize("name", UNSUPPORTED_SCHEDULES)
def test_an_unsupported_schedule_is_refused_with_the_nearest_supported_one(name):
    why, nearest = UNSUPPORTED_SCHEDULES[name]
    with pytest.raises(UsageError, match=re.escape(f"the {name} schedule: {why}")) as caught:
        resolve_scheduler(f"DPM++ 2M {name.lower().replace(' ', '_')}")
    assert caught.value.code == "scheduler.schedule"
    assert caught.value.hint.startswith(f"the nearest is -s 'DPM++ 2M {nearest}'; schedules of")
    assert resolve_scheduler(f"DPM++ 2M {nearest}")


@pytest.mark.parametrize("name", ["Automatic", "karras", "k", "sgm_uniform", "AYS", "beta57"])
def test_a_schedule_without_a_sampler_is_refused(name):
    with pytest.raises(
        UsageError, match="is a schedule and needs a sampler in front of it"
    ) as caught:
        resolve_scheduler(name)
    example = re.match("for example -s '(.*)'; or omit --scheduler", caught.value.hint)
    assert resolve_scheduler(example[1])


@pytest.mark.parametrize("name", ["", " ", "default", "none", "auto", "?"])
def test_words_for_the_default_get_the_hint_to_omit_the_option(name):
    with pytest.raises(UsageError) as caught:
        resolve_scheduler(name)
    assert caught.value.hint == "omit --scheduler to use the model's own"


@pytest.mark.parametrize(
    ("typed", "suggestion"),
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
def test_a_misspelled_name_gets_a_suggestion_with_its_schedule(typed, suggestion):
    with pytest.raises(UsageError) as caught:
        resolve_scheduler(typed)
    assert caught.value.hint == f"did you mean {suggestion}?"
    assert resolve_scheduler(suggestion)


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
def test_the_hint_tells_what_would_work(typed, code, hint):
    with pytest.raises(UsageError) as caught:
        resolve_scheduler(typed)
    assert caught.value.code == code
    assert hint in (caught.value.hint or "")
