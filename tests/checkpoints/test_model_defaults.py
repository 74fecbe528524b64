"""What a model folder says of itself, read without torch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sdcli.checkpoints.components import read_components
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER, read_defaults, unknown_words
from sdcli.errors import CorruptError, ModelError


def model(folder: Path, *, unet=None, vae=None, index=None, own=None, scheduler=None) -> Path:
    """A model folder of JSON alone."""
    files = {
        "model_index.json": index or {"_class_name": "StableDiffusionPipeline"},
        "unet/config.json": {"sample_size": 64, "cross_attention_dim": 768} | (unet or {}),
        "vae/config.json": {"block_out_channels": [1, 2, 4, 4], "latent_channels": 4} | (vae or {}),
        "scheduler/scheduler_config.json": {"_class_name": "PNDMScheduler"} | (scheduler or {}),
        "text_encoder/config.json": {"num_hidden_layers": 12},
    }
    if own is not None:
        files["sdcli.json"] = own
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def test_stable_diffusion_1_gets_what_diffusers_would_do(tmp_path):
    defaults = read_defaults(model(tmp_path))
    assert defaults.family == "Stable Diffusion 1"
    assert (defaults.num_inference_steps, defaults.guidance_scale) == (50, 7.5)
    assert (defaults.width, defaults.height) == (512, 512)
    assert (defaults.scheduler, defaults.scheduler_class) == (None, "PNDMScheduler")
    assert defaults.prediction_type == "epsilon"
    assert defaults.text_encoder_layers == 12
    assert defaults.words is None


def test_stable_diffusion_2_with_v_prediction(tmp_path):
    folder = model(
        tmp_path,
        unet={"cross_attention_dim": 1024, "sample_size": 96},
        scheduler={"prediction_type": "v_prediction"},
    )
    defaults = read_defaults(folder)
    assert defaults.family == "Stable Diffusion 2"
    assert (defaults.width, defaults.prediction_type) == (768, "v_prediction")


def test_a_sample_may_be_wider_than_high(tmp_path):
    defaults = read_defaults(model(tmp_path, unet={"sample_size": [32, 64]}))
    assert (defaults.width, defaults.height) == (512, 256)


def test_a_models_own_word_wins(tmp_path):
    own = {"family": "small", "num_inference_steps": 20, "guidance_scale": 3, "width": 128}
    defaults = read_defaults(model(tmp_path, own=own | {"scheduler": "Euler", "words": ["cat"]}))
    assert (defaults.family, defaults.scheduler) == ("small", "Euler")
    assert (defaults.num_inference_steps, defaults.guidance_scale) == (20, 3)
    assert (defaults.width, defaults.height) == (128, 512)
    assert defaults.words == {"cat"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"index": {"_class_name": "StableDiffusionXLPipeline"}}, "StableDiffusionXLPipeline"),
        ({"index": {"_class_name": "FluxPipeline"}}, "FluxPipeline"),
        ({"unet": {"in_channels": 9}}, "9 channels"),
    ],
)
def test_other_pipelines_are_refused(tmp_path, change, message):
    with pytest.raises(ModelError, match=message):
        read_defaults(model(tmp_path, **change))


@pytest.mark.parametrize(
    "change",
    [{"index": "{"}, {"index": "[]"}, {"own": {"words": "cat"}}, {"own": {"scheduler": 3}}],
)
def test_broken_json_is_corrupt(tmp_path, change):
    with pytest.raises(CorruptError):
        read_defaults(model(tmp_path, **change))


def test_a_folder_without_an_index_is_no_model(tmp_path):
    with pytest.raises(ModelError, match=r"cannot read model_index\.json"):
        read_defaults(tmp_path)


def test_the_embedded_model_speaks_for_itself():
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


def test_the_parts_of_the_embedded_model():
    parts = {part.name: part for part in read_components(EMBEDDED_FOLDER)}
    assert {"unet", "vae", "text_encoder", "tokenizer", "scheduler"} <= set(parts)
    assert parts["unet"].class_name == "UNet2DConditionModel"
    assert parts["unet"].parameters > 1_000_000
    assert parts["unet"].dtypes == ("F16",)
    assert not any(part.has_pickle for part in parts.values())
    assert parts["tokenizer"].files == ()


def weights(folder: Path, data: bytes, name: str = "w.safetensors") -> Path:
    index = {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet"]}
    model(folder, index=index)
    (folder / "unet" / name).write_bytes(data)
    return folder


def tensors(header: dict, payload: bytes) -> bytes:
    raw = json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + payload


ONE = {"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}


def test_a_part_counts_its_numbers(tmp_path):
    [part] = read_components(weights(tmp_path, tensors(ONE, b"\0" * 8)))
    assert (part.parameters, part.dtypes, part.has_pickle) == (2, ("F32",), False)


def test_a_pickle_is_told(tmp_path):
    [part] = read_components(weights(tmp_path, b"anything", "w.bin"))
    assert part.has_pickle


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 20,
        tensors(ONE, b"\0" * 7),
        tensors(ONE, b"\0" * 9),
        tensors({"x": 3}, b""),
        tensors({}, b""),
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        (5).to_bytes(8, "little") + b"{oops",
    ],
)
def test_broken_weights_are_corrupt(tmp_path, data):
    with pytest.raises(CorruptError):
        read_components(weights(tmp_path, data))
