"""Families, default settings and vocabularies of models."""

from __future__ import annotations

import pytest

from sdcli.catalog.known_vaes import UNKNOWN_FAMILY
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER, read_defaults, unknown_words
from sdcli.errors import CorruptError, ModelError
from tests.checkpoints.model_files import write_model


def test_stable_diffusion_1_has_the_defaults_of_diffusers(tmp_path):
    defaults = read_defaults(write_model(tmp_path))
    assert defaults.family == "Stable Diffusion 1"
    assert (defaults.num_inference_steps, defaults.guidance_scale) == (50, 7.5)
    assert (defaults.width, defaults.height) == (512, 512)
    assert (defaults.scheduler, defaults.scheduler_class) == (None, "PNDMScheduler")
    assert defaults.prediction_type == "epsilon"
    assert defaults.text_encoder_layers == 12
    assert defaults.words is None


def test_stable_diffusion_2_with_v_prediction(tmp_path):
    folder = write_model(
        tmp_path,
        unet={"cross_attention_dim": 1024, "sample_size": 96},
        scheduler={"prediction_type": "v_prediction"},
    )
    defaults = read_defaults(folder)
    assert defaults.family == "Stable Diffusion 2"
    assert (defaults.width, defaults.prediction_type) == (768, "v_prediction")


def test_the_width_and_height_of_a_sample_can_differ(tmp_path):
    defaults = read_defaults(write_model(tmp_path, unet={"sample_size": [32, 64]}))
    assert (defaults.width, defaults.height) == (512, 256)


def test_the_models_own_defaults_win(tmp_path):
    custom = {"family": "small", "num_inference_steps": 20, "guidance_scale": 3, "width": 128}
    defaults = read_defaults(
        write_model(tmp_path, defaults=custom | {"scheduler": "Euler", "words": ["cat"]})
    )
    assert (defaults.family, defaults.scheduler) == ("small", "Euler")
    assert (defaults.num_inference_steps, defaults.guidance_scale) == (20, 3)
    assert (defaults.width, defaults.height) == (128, 512)
    assert defaults.words == {"cat"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"index": {"_class_name": "StableDiffusionXLPipeline"}}, "StableDiffusionXLPipeline"),
        ({"index": {"_class_name": "FluxPipeline"}}, "FluxPipeline"),
        ({"unet": {"in_channels": 5}}, "5 input channels"),
    ],
)
def test_other_pipelines_are_refused(tmp_path, change, message):
    with pytest.raises(ModelError, match=message):
        read_defaults(write_model(tmp_path, **change))


@pytest.mark.parametrize(
    "change",
    [
        {"index": "{"},
        {"index": "[]"},
        {"defaults": {"words": "cat"}},
        {"defaults": {"scheduler": 3}},
    ],
)
def test_broken_json_is_reported_as_corrupt(tmp_path, change):
    with pytest.raises(CorruptError):
        read_defaults(write_model(tmp_path, **change))


def test_a_folder_without_an_index_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"cannot read model_index\.json"):
        read_defaults(tmp_path)


def test_the_embedded_model_has_its_own_defaults():
    defaults = read_defaults(EMBEDDED_FOLDER)
    assert (defaults.width, defaults.height) == (128, 128)
    assert defaults.guidance_scale == pytest.approx(3, abs=1.5)
    assert defaults.words
    assert {"cat", "a", "and"} <= defaults.words


@pytest.mark.parametrize(
    ("prompt", "unknown"),
    [
        ("a cat", ()),
        ("A Cat, a CAT!", ()),
        ("a zebra and a zebra-crossing", ("zebra", "crossing")),
        ("", ()),
        ("a кот", ("кот",)),
    ],
)
def test_unknown_words(prompt, unknown):
    assert unknown_words(prompt, frozenset({"a", "cat", "and"})) == unknown


@pytest.mark.parametrize("width", [512, 2048, [768, 768], None])
def test_other_text_encoders_give_an_unknown_family(tmp_path, width):
    folder = write_model(tmp_path, unet={"cross_attention_dim": width})
    assert read_defaults(folder).family == UNKNOWN_FAMILY
