"""The scheduler file of a model, under the options of a scheduler name."""

from __future__ import annotations

import pytest

from sdcli.catalog.schedulers.model_config import correct_config, merge_config
from sdcli.catalog.schedulers.resolve import model_scheduler, resolve_scheduler
from sdcli.catalog.schedulers.sampler_table import SAMPLERS
from sdcli.errors import UsageError

pytestmark = pytest.mark.usefixtures("all_packages")

TRAILING = {"timestep_spacing": "trailing", "prediction_type": "v_prediction"}
SPACED = [row for row in SAMPLERS if "timestep_spacing" in row.config]


@pytest.mark.parametrize(
    ("file", "corrected"),
    [
        ({"_class_name": "X", "beta_end": 0.1}, {"beta_end": 0.1}),
        ({"steps_offset": 0, "clip_sample": True}, {"steps_offset": 1, "clip_sample": False}),
        ({"steps_offset": 1, "clip_sample": False}, {"steps_offset": 1, "clip_sample": False}),
    ],
)
def test_a_file_is_corrected_as_diffusers_does(file, corrected):
    assert correct_config(file) == corrected


def test_a_value_of_another_type_is_not_judged():
    file = {"num_train_timesteps": "many", "clip_sample": 1, "beta_end": True, "solver_order": {}}
    assert merge_config("DDIMScheduler", file) == merge_config("DDIMScheduler", {})


@pytest.mark.parametrize("row", SPACED, ids=lambda row: row.name)
@pytest.mark.parametrize("spacing", ["leading", "linspace", "trailing"])
def test_only_trailing_steps_of_a_model_win_over_those_of_a_name(row, spacing):
    resolved = resolve_scheduler(row.name, {"timestep_spacing": spacing})
    own = row.config["timestep_spacing"]
    expected = "trailing" if spacing == "trailing" else own
    assert resolved.config["timestep_spacing"] == expected
    assert resolved.label == row.name
    if spacing != "trailing":
        assert resolved.choice == resolve_scheduler(row.name).choice


@pytest.mark.parametrize("row", SPACED, ids=lambda row: row.name)
def test_what_is_typed_wins_over_a_trailing_model(row):
    own = str(row.config["timestep_spacing"])
    for typed, spacing in (
        (f"{row.name} Normal", own),
        (f"{row.name} DDIM Uniform", "leading"),
        (f"{row.name} SGM Uniform", "trailing"),
        (f"{row.name};timestep_spacing=linspace", "linspace"),
        (f"{row.name} Automatic", "trailing" if row.automatic == "Normal" else None),
    ):
        resolved = resolve_scheduler(typed, TRAILING)
        assert spacing in (None, resolved.config["timestep_spacing"])
        assert resolve_scheduler(resolved.label, TRAILING) == resolved


@pytest.mark.parametrize("row", SAMPLERS, ids=lambda row: row.name)
def test_a_name_keeps_the_prediction_and_the_noise_of_the_model(row):
    file = {"prediction_type": "v_prediction", "beta_schedule": "linear", "set_alpha_to_one": True}
    config = resolve_scheduler(row.name, file).config
    assert file.items() >= {key: config[key] for key in file.keys() & config.keys()}.items()


def test_options_are_judged_with_those_of_the_model():
    with pytest.raises(UsageError, match="would ignore steps_offset"):
        resolve_scheduler("EulerDiscreteScheduler;steps_offset=1")
    assert resolve_scheduler("EulerDiscreteScheduler;steps_offset=1", None)
    leading = {"timestep_spacing": "leading"}
    assert resolve_scheduler("EulerDiscreteScheduler;steps_offset=1", leading)
    with pytest.raises(UsageError, match="Beta schedule"):
        resolve_scheduler("DPM++ 2M Beta", {"rescale_betas_zero_snr": True})
    file = {"rescale_betas_zero_snr": True, "use_beta_sigmas": True}
    with pytest.raises(UsageError, match="Beta schedule"):
        resolve_scheduler("EulerDiscreteScheduler", file)


@pytest.mark.parametrize(
    ("typed", "file", "limit"),
    [
        ("LCM", {"original_inference_steps": 8}, 8),
        ("TCD", {"original_inference_steps": 20}, 20),
        ("LCM;original_inference_steps=100", {"original_inference_steps": 8}, 100),
        ("Euler", {"num_train_timesteps": 100}, 100),
        ("Euler", {"original_inference_steps": 8}, 1000),
        ("LCM", {"original_inference_steps": "8"}, 50),
        ("LCM", {}, 50),
    ],
)
def test_the_steps_are_limited_by_the_file(typed, file, limit):
    assert resolve_scheduler(typed, file).max_steps == limit


def test_the_models_own_scheduler_is_limited_by_the_file():
    assert model_scheduler("LCMScheduler", {"original_inference_steps": 8}).max_steps == 8
    assert model_scheduler("DDIMScheduler", {"num_train_timesteps": 100}).max_steps == 100
    assert model_scheduler("FutureScheduler", {}).max_steps == 1000
