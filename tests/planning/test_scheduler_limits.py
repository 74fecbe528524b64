"""Requests that the scheduler or the model cannot carry out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sdcli.catalog.schedulers.resolve import resolve_scheduler
from sdcli.catalog.schedulers.sampler_table import SAMPLERS
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER, read_defaults
from sdcli.errors import UsageError
from sdcli.planning.resolve import resolve_jobs
from sdcli.request import GenerationRequest


def planned(scheduler, prediction_type="epsilon", file=(), defaults=(), **changes):
    model = read_defaults(EMBEDDED_FOLDER)
    config = {**model.scheduler_config, "prediction_type": prediction_type, **dict(file)}
    defaults = replace(
        model, prediction_type=prediction_type, scheduler_config=config, **dict(defaults)
    )
    return list(
        resolve_jobs(GenerationRequest(prompt="x", scheduler=scheduler, **changes), defaults, 0)
    )


def test_zero_snr_is_refused_for_a_model_that_predicts_noise():
    name = "DDIM;rescale_betas_zero_snr=true;timestep_spacing=trailing"
    with pytest.raises(UsageError, match="predicts noise"):
        planned(name)
    assert planned(name, "v_prediction")
    assert planned(f"{name};prediction_type=v_prediction")


def test_the_option_of_a_distilled_model_limits_the_steps():
    assert planned("LCM;original_inference_steps=100", num_inference_steps=60)
    with pytest.raises(UsageError, match="20 is more than the 10 that LCM;original_inference"):
        planned("LCM;original_inference_steps=10", num_inference_steps=20)


def test_too_few_steps_are_refused_before_the_run(monkeypatch):
    row = replace(SAMPLERS[0], min_steps=3)
    resolved = replace(resolve_scheduler("DPM++ 2M"), sampler=row)
    monkeypatch.setattr(
        "sdcli.planning.request_scheduler.resolve_scheduler", lambda name, model: resolved
    )
    with pytest.raises(UsageError, match="needs at least 3 steps"):
        planned("DPM++ 2M", num_inference_steps=2)
    assert planned("DPM++ 2M", num_inference_steps=3)


@pytest.mark.parametrize(
    "name", ["DPM++ 2M Karras", "UniPC Exponential", "DEIS Beta", "DPM2 Karras"]
)
def test_a_schedule_that_repeats_its_first_timestep_is_refused_before_loading(name):
    file = {"beta_schedule": "squaredcos_cap_v2"}
    with pytest.raises(UsageError, match="its first timestep, 99") as caught:
        planned(name, file=file, num_inference_steps=20)
    assert caught.value.hint
    assert planned(name, file=file, num_inference_steps=2)
    assert planned(name, num_inference_steps=20)


def test_a_model_s_own_scheduler_is_judged_as_well():
    file = {"beta_schedule": "squaredcos_cap_v2", "use_karras_sigmas": True}
    own = {"scheduler": None, "scheduler_class": "DPMSolverMultistepScheduler"}
    with pytest.raises(UsageError, match="comes twice"):
        planned(None, file=file, defaults=own, num_inference_steps=20)
    assert planned(None, file=file, defaults=own, num_inference_steps=3)
