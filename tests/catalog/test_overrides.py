"""Constructor options in `NAME;key=value`: parsing, formatting and refusals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdcli.catalog.schedulers.option_info import OPTION_INFO
from sdcli.catalog.schedulers.overrides import describe_accepted, format_value, split_overrides
from sdcli.catalog.schedulers.resolve import resolve_scheduler
from sdcli.catalog.schedulers.sampler_table import SAMPLERS
from sdcli.errors import UsageError

pytestmark = pytest.mark.usefixtures("all_packages")


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
def test_options_are_applied_and_their_label_resolves_to_the_same(typed, label, option):
    selection = resolve_scheduler(typed)
    assert option in selection.choice.config
    assert label in (None, selection.label)
    assert resolve_scheduler(selection.label) == selection


@pytest.mark.parametrize(
    ("typed", "message", "hint"),
    [
        ("DPM++ 2M;solver_odrer=3", "no option solver_odrer", "did you mean solver_order?"),
        ("DDIM;solver_order=3", "no option solver_order", "solver_order works with DPM++ 2M"),
        ("Heun;rescale_betas_zero_snr=1", "no option rescale", "works with DPM++ 2M"),
        ("Euler a;use_karras_sigmas=1", "no option use_karras", "works with DPM++ 2M"),
        ("DPM++ 2M;solver_order=9", "must be an integer from 1 to 3, not '9'", None),
        ("DPM++ 2M;solver_order=x", "not 'x'", None),
        ("Euler;sigma_max=nan", "not 'nan'", None),
        (
            "DDIM;timestep_spacing=trailin",
            "one of leading, linspace, trailing, not",
            "did you mean trailing?",
        ),
        ("DDIM;clip_sample=maybe", "one of true, false, not 'maybe'", None),
        ("DEIS;solver_type=heun", "solver_type must be logrho, not 'heun'", None),
        ("DPM++ 2M;flow_shift=3", "for flow-matching models", None),
        ("DPM++ SDE;noise_sampler_seed=3", "it is set by --seed", None),
        ("LCM;timestep_spacing=trailing", "the class never reads it", None),
        ("DPM++ 2M;solver_order", "'solver_order' is not key=value", "solver_order=3"),
        ("DPM++ 2M;=3", "is not key=value", None),
        ("DPM++ 2M;solver_order=3;solver-order=2", "given twice", None),
        ("Euler Karras;use_beta_sigmas=1", "contradicts the Karras schedule", None),
        ("Euler Karras;use_karras_sigmas=0", "contradicts the Karras schedule", None),
        (
            "SA-Solver;use_beta_sigmas=1",
            "support the Beta schedule: in this class it diverges",
            None,
        ),
        (
            "DPM-Solver;use_karras_sigmas=1",
            "support the Karras schedule: the last step would",
            None,
        ),
        ("LCM;timestep_spacing=leading", "the class never reads it", None),
        ("euler;karras=true", "no option karras", "for example -s 'Euler Karras'"),
        ("euler;schedule=karras", "no option schedule", "for example -s 'Euler Karras'"),
        (
            "DPM++ 2M;schedule-type=automatic",
            "schedule_type",
            "for example -s 'DPM++ 2M Automatic'",
        ),
        ("euler a;karras=true", "not support the Karras schedule", "Karras works with"),
        ("DDIM;eta=1", "no option eta", "use the command-line option: --eta 1"),
        ("Euler;eta=1", "no option eta", "--eta works with DDIM, DDIM Parallel, TCD"),
        ("Euler;steps=9", "no option steps", "use the command-line option: --steps 9"),
    ],
)
def test_the_hint_tells_what_would_work(typed, message, hint):
    with pytest.raises(UsageError) as caught:
        resolve_scheduler(typed)
    assert message in caught.value.message
    assert caught.value.code in ("scheduler.options", "scheduler.schedule")
    if hint:
        assert hint in caught.value.hint


@pytest.mark.parametrize(
    "override", ["use_karras_sigmas=1", "use_lu_lambdas=1", "timestep_spacing=trailing"]
)
def test_a_hint_lists_exactly_the_samplers_that_accept_the_option(override):
    lacking = "DPM++ 2S" if override.startswith("timestep") else "Euler a"
    with pytest.raises(UsageError) as caught:
        resolve_scheduler(f"{lacking};{override}")
    named = caught.value.hint.partition(" works with ")[2].split(", ")
    assert named != [""]
    for row in SAMPLERS:
        if row.name in named:
            assert resolve_scheduler(f"{row.name};{override}")
        else:
            with pytest.raises(UsageError):
                resolve_scheduler(f"{row.name};{override}")


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
def test_the_properties_follow_the_options(typed, stochastic, order, max_steps):
    resolved = resolve_scheduler(typed)
    assert (resolved.is_stochastic, resolved.order, resolved.max_steps) == (
        stochastic,
        order,
        max_steps,
    )


@pytest.mark.parametrize("row", SAMPLERS, ids=lambda row: row.name)
def test_without_options_the_properties_are_those_of_the_row(row):
    resolved = resolve_scheduler(row.name)
    assert resolved.is_stochastic is row.stochastic
    assert (resolved.order, resolved.max_steps) == (row.order, row.max_steps)


@given(st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False)))
def test_a_formatted_value_parses_to_the_same_value(value):
    text = format_value(value)
    if isinstance(value, bool):
        assert text == str(value).lower()
    else:
        assert type(value)(text) == value


@given(st.text(max_size=40))
def test_any_text_splits_or_raises_a_usage_error(text):
    try:
        name, pairs = split_overrides(text)
    except UsageError:
        return
    assert name == name.strip()
    assert ";" not in name
    joined = ";".join([name, *(f"{key}={value}" for key, value in pairs.items())])
    assert split_overrides(joined) == (name, pairs)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("solver_order", "an integer from 1 to 3"),
        ("sigma_max", "a number from 0.1 to 1000"),
        ("clip_sample", "true, false"),
        ("solver_p", "cannot be set: it is a Python object"),
    ],
)
def test_the_accepted_values_are_described(key, text):
    assert describe_accepted(OPTION_INFO[key]) == text
