"""Families, default settings and vocabularies of models."""

from __future__ import annotations

import pytest
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from diffusers.configuration_utils import FrozenDict

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


@pytest.mark.parametrize("size", [32, 63, 64, 96, [32, 32]])
@pytest.mark.parametrize("version", ["0.6.0", "0.8.1", "0.8.0+x", "0.9.0.dev0", "0.10.0", None])
@pytest.mark.filterwarnings("ignore:The configuration file of the unet:FutureWarning")
def test_the_size_of_old_files_is_corrected_as_diffusers_does(tmp_path, size, version):
    unet = {"sample_size": size} | ({"_diffusers_version": version} if version else {})
    defaults = read_defaults(write_model(tmp_path, unet=unet))
    # The constructor of the pipeline needs no more than the configurations.
    config = FrozenDict(unet)
    pipeline = StableDiffusionPipeline.__new__(StableDiffusionPipeline)
    parts = dict.fromkeys(("vae", "text_encoder", "tokenizer", "scheduler"))
    model = UNet2DConditionModel(
        block_out_channels=(4,), down_block_types=("DownBlock2D",), norm_num_groups=1,
        up_block_types=("UpBlock2D",), cross_attention_dim=8, attention_head_dim=1,
    )  # fmt: skip
    model._internal_dict = FrozenDict({**model.config, **config})
    pipeline.__init__(
        **parts, unet=model, safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip
    expected = model.config.sample_size
    assert defaults.width // 8 == (expected if isinstance(expected, int) else expected[1])


@pytest.mark.parametrize("version", ["x", "", 8, None, ["0.6.0"]])
def test_a_version_that_is_none_is_corrupt(tmp_path, version):
    unet = {"sample_size": 32, "_diffusers_version": version}
    with pytest.raises(CorruptError, match="_diffusers_version is"):
        read_defaults(write_model(tmp_path, unet=unet))


@pytest.mark.parametrize("value", ["nope", "", "Linear", None, [], {}, 1])
@pytest.mark.parametrize("key", ["beta_schedule", "prediction_type", "timestep_spacing"])
def test_a_word_that_no_scheduler_knows_is_corrupt(tmp_path, key, value):
    with pytest.raises(CorruptError, match=f"{key} is .*; it must be .* or "):
        read_defaults(write_model(tmp_path, scheduler={key: value}))


def test_every_word_of_a_scheduler_of_diffusers_is_accepted(tmp_path):
    words = {
        "beta_schedule": ("linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "laplace"),
        "prediction_type": ("epsilon", "v_prediction", "sample", "flow_prediction"),
        "timestep_spacing": ("leading", "linspace", "trailing"),
    }
    for key, values in words.items():
        for value in values:
            folder = write_model(tmp_path / key / value, scheduler={key: value})
            assert read_defaults(folder).scheduler_config[key] == value


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
        ({"index": {"_class_name": "StableDiffusion3Pipeline"}}, "StableDiffusion3Pipeline"),
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
