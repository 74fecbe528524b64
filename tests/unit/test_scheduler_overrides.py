"""`NAME;key=value`: what is understood, and that nothing is accepted and ignored."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sdcli.catalog.schedulers import resolve
from sdcli.catalog.schedulers.overrides import format_value
from sdcli.catalog.schedulers.samplers import SAMPLERS
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER, read_defaults
from sdcli.errors import UsageError
from sdcli.planning.resolve import resolve_jobs
from sdcli.request import GenerationRequest


@pytest.fixture(autouse=True)
def all_packages(monkeypatch):
    monkeypatch.setattr(resolve, "_require", lambda package, row: None)


@pytest.mark.parametrize(
    ("typed", "label", "option"),
    [
        ("DPM++ 2M Karras;solver_order=3", "DPM++ 2M Karras;solver_order=3", ("solver_order", 3)),
        ("dpmpp_2m;use_karras_sigmas=true", "DPM++ 2M Karras", ("use_karras_sigmas", True)),
        ("euler;Timestep-Spacing=TRAILING", None, ("timestep_spacing", "trailing")),
        ("Euler;use_karras_sigmas=no", "Euler", ("use_karras_sigmas", False)),
        ("ddim; rescale_betas_zero_snr = on ;", None, ("rescale_betas_zero_snr", True)),
        ("ddim;prediction_type=v_prediction", None, ("prediction_type", "v_prediction")),
        ("UniPC;solver_order=2", "UniPC", ("solver_order", 2)),
        ("EulerDiscreteScheduler;beta_end=0.0123456789", None, ("beta_end", 0.0123456789)),
        ("DPMSolverMultistepScheduler;solver_order=2", None, ("solver_order", 2)),
        ("dpm++;algorithm_type=sde-dpmsolver++", None, ("algorithm_type", "sde-dpmsolver++")),
    ],
)
def test_options_are_understood_and_their_label_resolves_to_the_same(typed, label, option):
    selection = resolve.resolve_scheduler(typed)
    assert option in selection.choice.config
    assert label in (None, selection.label)
    assert resolve.resolve_scheduler(selection.label) == selection


@pytest.mark.parametrize(
    ("typed", "message", "hint"),
    [
        ("DPM++ 2M;solver_odrer=3", "no option solver_odrer", "did you mean solver_order?"),
        ("DDIM;solver_order=3", "no option solver_order", "solver_order works with DPM++ 2M"),
        ("Heun;rescale_betas_zero_snr=1", "no option rescale", "works with DPM++ 2M"),
        ("Euler a;use_karras_sigmas=1", "no option use_karras", "works with DPM++ 2M"),
        ("DPM++ 2M;solver_order=9", "a whole number from 1 to 3; not '9'", None),
        ("DPM++ 2M;solver_order=x", "not 'x'", None),
        ("Euler;sigma_max=nan", "not 'nan'", None),
        ("DDIM;timestep_spacing=trailin", "leading, linspace, trailing", "did you mean trailing?"),
        ("DDIM;clip_sample=maybe", "true, false; not 'maybe'", None),
        ("DEIS;solver_type=heun", "solver_type is logrho", None),
        ("DPM++ 2M;flow_shift=3", "for flow-matching models", None),
        ("DPM++ SDE;noise_sampler_seed=3", "--seed decides it", None),
        ("LCM;timestep_spacing=trailing", "the class never reads it", None),
        ("DPM++ 2M;solver_order", "'solver_order' is not key=value", "solver_order=3"),
        ("DPM++ 2M;=3", "is not key=value", None),
        ("DPM++ 2M;solver_order=3;solver-order=2", "said twice", None),
        ("Euler Karras;use_beta_sigmas=1", "contradicts the Karras schedule", None),
        ("Euler Karras;use_karras_sigmas=0", "contradicts the Karras schedule", None),
        ("DPM++ 2M Karras;timestep_spacing=leading", "would ignore timestep_spacing", "schedule"),
        ("Euler;steps_offset=1", "would ignore steps_offset", "timestep_spacing=leading"),
        ("DDIM;clip_sample_range=2", "would ignore clip_sample_range", "clip_sample=true"),
        ("DPM++ 2M;sample_max_value=2", "would ignore sample_max_value", "thresholding=true"),
        ("DPM++ 2M;euler_at_final=1", "would ignore euler_at_final", "final_sigmas_type=sigma_min"),
        ("Euler;sigma_max=10", "would ignore sigma_max", "Karras"),
        ("UniPC;solver_type=bh1", "bh1 ends in NaN", "final_sigmas_type=sigma_min"),
        ("DPM++ 2M;algorithm_type=dpmsolver", "without ++", "final_sigmas_type=sigma_min"),
        ("SA-Solver;use_beta_sigmas=1", "no Beta schedule: in this class it diverges", None),
        ("DPM-Solver;use_karras_sigmas=1", "no Karras schedule: its last step would", None),
        ("LCM;timestep_spacing=leading", "the class never reads it", None),
        ("euler;karras=true", "no option karras", "as in -s 'Euler Karras'"),
        ("euler;schedule=karras", "no option schedule", "as in -s 'Euler Karras'"),
        ("DPM++ 2M;schedule-type=automatic", "schedule_type", "as in -s 'DPM++ 2M Automatic'"),
        ("euler a;karras=true", "no Karras schedule", "Karras works with"),
        ("DDIM;eta=1", "no option eta", "an option of its own: --eta 1"),
        ("Euler;eta=1", "no option eta", "--eta works with DDIM, DDIM Parallel, TCD"),
        ("Euler;steps=9", "no option steps", "an option of its own: --steps 9"),
    ],
)
def test_refusals_say_what_would_work(typed, message, hint):
    with pytest.raises(UsageError) as caught:
        resolve.resolve_scheduler(typed)
    assert message in caught.value.message
    assert caught.value.code in ("scheduler.options", "scheduler.schedule")
    if hint:
        assert hint in caught.value.hint


@pytest.mark.parametrize(
    "said", ["use_karras_sigmas=1", "use_lu_lambdas=1", "timestep_spacing=trailing"]
)
def test_a_refusal_lists_only_rows_that_take_the_option(said):
    lacking = "DPM++ 2S" if said.startswith("timestep") else "Euler a"
    with pytest.raises(UsageError) as caught:
        resolve.resolve_scheduler(f"{lacking};{said}")
    named = caught.value.hint.partition(" works with ")[2].split(", ")
    assert named != [""]
    for row in SAMPLERS:
        if row.name in named:
            assert resolve.resolve_scheduler(f"{row.name};{said}")
        else:
            with pytest.raises(UsageError):
                resolve.resolve_scheduler(f"{row.name};{said}")


@pytest.mark.parametrize(
    ("typed", "stochastic", "order", "max_steps"),
    [
        ("dpm++", False, 2, 1000),
        ("dpm++;algorithm_type=sde-dpmsolver++", True, 2, 1000),
        ("DPM++ 2M SDE;algorithm_type=dpmsolver++", False, 2, 1000),
        ("DPMSolverMultistepScheduler;algorithm_type=sde-dpmsolver++", True, 2, 1000),
        ("dpmpp_2m_k;solver_order=3", False, 3, 1000),
        ("DPM++ 3M SDE;solver_order=1", True, 1, 1000),
        ("SA-Solver", True, 2, 1000),
        ("SA-Solver;predictor_order=1", True, 2, 1000),
        ("SA-Solver;corrector_order=3", True, 3, 1000),
        ("LMS", False, 4, 1000),
        ("LCM", True, 1, 50),
        ("LCM;original_inference_steps=100", True, 1, 100),
        ("TCDScheduler;original_inference_steps=10", False, 1, 10),
        ("TCD", False, 1, 50),
    ],
)
def test_what_the_options_decide_is_told_so(typed, stochastic, order, max_steps):
    told = resolve.resolve_scheduler(typed)
    assert (told.is_stochastic, told.order, told.max_steps) == (stochastic, order, max_steps)


@pytest.mark.parametrize("row", SAMPLERS, ids=lambda row: row.name)
def test_without_options_it_is_as_the_row_says(row):
    told = resolve.resolve_scheduler(row.name)
    assert told.is_stochastic is row.stochastic
    assert (told.order, told.max_steps) == (row.order, row.max_steps)


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e-6, 123456789.5])
def test_a_number_is_spelled_so_that_it_is_read_the_same(value):
    assert float(format_value(value)) == value


def planned(scheduler, prediction_type="epsilon", **changes):
    defaults = replace(read_defaults(EMBEDDED_FOLDER), prediction_type=prediction_type)
    return list(
        resolve_jobs(GenerationRequest(prompt="x", scheduler=scheduler, **changes), defaults, 0)
    )


def test_zero_snr_is_refused_for_a_model_that_predicts_noise():
    asked = "DDIM;rescale_betas_zero_snr=true;timestep_spacing=trailing"
    with pytest.raises(UsageError, match="predicts noise"):
        planned(asked)
    assert planned(asked, "v_prediction")
    assert planned(f"{asked};prediction_type=v_prediction")


def test_the_most_steps_of_a_distilled_model_are_by_its_option():
    assert planned("LCM;original_inference_steps=100", num_inference_steps=60)
    with pytest.raises(UsageError, match="20 is more than the 10 that LCM;original_inference"):
        planned("LCM;original_inference_steps=10", num_inference_steps=20)


def test_too_few_steps_are_refused_before_the_run(monkeypatch):
    row = replace(SAMPLERS[0], min_steps=3)
    picked = replace(resolve.resolve_scheduler("DPM++ 2M"), sampler=row)
    monkeypatch.setattr("sdcli.planning.resolve.resolve_scheduler", lambda name: picked)
    with pytest.raises(UsageError, match="needs at least 3 steps"):
        planned("DPM++ 2M", num_inference_steps=2)
    assert planned("DPM++ 2M", num_inference_steps=3)
