"""Options that a scheduler class would ignore, or that break it."""

from __future__ import annotations

import pytest

from sdcli.catalog.schedulers.resolve import resolve_scheduler
from sdcli.catalog.schedulers.sampler_table import SAMPLERS
from sdcli.errors import UsageError

pytestmark = pytest.mark.usefixtures("all_packages")


@pytest.mark.parametrize(
    ("typed", "message", "hint"),
    [
        ("DPM++ 2M Karras;timestep_spacing=leading", "would ignore timestep_spacing", "schedule"),
        ("Euler;steps_offset=1", "would ignore steps_offset", "timestep_spacing=leading"),
        ("DDIM;clip_sample_range=2", "would ignore clip_sample_range", "clip_sample=true"),
        ("DPM++ 2M;sample_max_value=2", "would ignore sample_max_value", "thresholding=true"),
        ("DPM++ 2M;euler_at_final=1", "would ignore euler_at_final", "final_sigmas_type=sigma_min"),
        ("Euler;sigma_max=10", "would ignore sigma_max", "Karras"),
        ("UniPC;solver_type=bh1", "bh1 ends in NaN", "final_sigmas_type=sigma_min"),
        ("DPM++ 2M;algorithm_type=dpmsolver", "without ++", "final_sigmas_type=sigma_min"),
        ("Heun;clip_sample_range=2", "would ignore clip_sample_range", "clip_sample=true"),
        ("UniPC;solver_order=1;lower_order_final=0", "ignore lower_order_final", "order 2"),
        ("UniPC;lower_order_final=0", "ends in NaN", "final_sigmas_type=sigma_min"),
        ("UniPC;predict_x0=0", "predict_x0=false ends in NaN", "final_sigmas_type=sigma_min"),
        ("Euler Beta;rescale_betas_zero_snr=1", "not work with the Beta schedule", "omit one"),
        ("UniPC Karras;final_sigmas_type=sigma_min", "already ends at sigma_min", "omit either"),
        (
            "DPM++ 3M SDE;algorithm_type=sde-dpmsolver;final_sigmas_type=sigma_min",
            "no third order",
            "solver_order=2",
        ),
    ],
)
def test_an_option_that_cannot_work_is_refused(typed, message, hint):
    with pytest.raises(UsageError) as caught:
        resolve_scheduler(typed)
    assert message in caught.value.message
    assert caught.value.code == "scheduler.options"
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "typed",
    [
        "Euler;timestep_spacing=leading;steps_offset=1",
        "DDIM;clip_sample=true;clip_sample_range=2",
        "DPM++ 2M;thresholding=true;sample_max_value=2;dynamic_thresholding_ratio=0.9",
        "DPM++ 2M;euler_at_final=1;final_sigmas_type=sigma_min",
        "Euler Karras;sigma_max=10",
        "UniPC;solver_type=bh1;final_sigmas_type=sigma_min",
    ],
)
def test_following_the_hint_makes_the_option_work(typed):
    assert resolve_scheduler(typed)


@pytest.mark.parametrize("row", SAMPLERS, ids=lambda row: row.name)
def test_repeating_an_option_of_the_sampler_changes_nothing(row):
    options = [f"{key}={value}" for key, value in row.config.items()]
    assert resolve_scheduler(";".join([row.name, *options])) == resolve_scheduler(row.name)
