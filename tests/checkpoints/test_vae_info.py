"""Properties of VAEs, and whether they fit a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sdcli.catalog.known_vaes import UNKNOWN_FAMILY, find_known_vae
from sdcli.checkpoints.json_files import read_json
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER, read_defaults
from sdcli.checkpoints.vae_compatibility import find_mismatch
from sdcli.checkpoints.vae_info import VaeInfo, read_vae, scaling_factor
from sdcli.checkpoints.weight_files import WeightFiles
from sdcli.errors import CorruptError, ModelError
from tests.checkpoints.model_files import pack_zeros, write_model

SD = {"_class_name": "AutoencoderKL", "scaling_factor": 0.18215}


def single(path: Path) -> WeightFiles:
    return WeightFiles(path=path, files=(path,))


@pytest.fixture
def model(tmp_path):
    """The defaults of a model of the Stable Diffusion 1 family."""
    return read_defaults(write_model(tmp_path))


@pytest.fixture
def vae(tmp_path) -> VaeInfo:
    """A VAE of the same shape."""
    return VaeInfo(
        path=tmp_path, weights=single(tmp_path / "w.safetensors"),
        class_name="AutoencoderKL", config=SD,
        latent_channels=4, scaling_factor=0.18215, vae_scale_factor=8, parameters=1, bytes=2,
        dtypes=("F16",),
    )  # fmt: skip


def test_the_embedded_vae_is_described_by_its_files():
    folder = EMBEDDED_FOLDER / "vae"
    weights = folder / "diffusion_pytorch_model.safetensors"
    info = read_vae(folder, single(weights), {})
    assert info.class_name == "AutoencoderKL"
    assert info.config == read_json(folder / "config.json")
    assert info.bytes == 2 * info.parameters
    assert (info.dtypes, info.assumptions, info.is_single_file) == (("F16",), (), False)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, 0.18215),
        ({"_class_name": "AutoencoderTiny"}, 1.0),
        ({"_class_name": "AutoencoderTiny", "scaling_factor": 2}, 2.0),
        ({"scaling_factor": 0.13025}, 0.13025),
    ],
)
def test_the_scaling_factor_has_a_default_for_each_class(config, expected):
    assert scaling_factor(config) == expected


def test_other_classes_are_refused(tmp_path: Path):
    write_model(tmp_path, vae={"_class_name": "AutoencoderDC"})
    weights = tmp_path / "vae" / "w.safetensors"
    weights.write_bytes(pack_zeros({"x": (2,)}, {}))
    with pytest.raises(ModelError, match="AutoencoderDC"):
        read_vae(tmp_path / "vae", single(weights), {})


def test_broken_weights_are_corrupt(tmp_path: Path):
    write_model(tmp_path)
    (tmp_path / "vae" / "w.safetensors").write_bytes(b"broken")
    with pytest.raises(CorruptError):
        read_vae(tmp_path / "vae", single(tmp_path / "vae" / "w.safetensors"), {})


def test_the_models_own_vae_fits(model, vae):
    assert find_mismatch(vae, SD, model, None) is None
    assert find_mismatch(vae, SD, model, find_known_vae("sd-vae-ft-mse")) is None


@pytest.mark.parametrize("change", [{"latent_channels": 16}, {"vae_scale_factor": 4}])
def test_another_shape_cannot_be_forced(model, vae, change):
    mismatch = find_mismatch(replace(vae, **change), SD, model, None)
    assert mismatch
    assert not mismatch.can_be_forced


def test_another_scaling_factor_can_be_forced(model, vae):
    mismatch = find_mismatch(replace(vae, scaling_factor=0.13025), SD, model, None)
    assert mismatch
    assert mismatch.can_be_forced
    assert "0.13025" in mismatch.reason
    rounded = replace(vae, scaling_factor=0.182151)
    assert find_mismatch(rounded, SD, model, None) is None


def test_a_small_vae_needs_a_factor_of_one(model, vae):
    tiny = replace(vae, class_name="AutoencoderTiny", scaling_factor=1.0)
    assert find_mismatch(tiny, SD, model, None) is None
    assert find_mismatch(replace(tiny, scaling_factor=0.18215), SD, model, None)


def test_the_factor_of_a_small_vae_says_nothing_about_the_large_one(model, vae):
    tiny_config = {"_class_name": "AutoencoderTiny"}
    assert find_mismatch(vae, tiny_config, model, None) is None
    assert find_mismatch(replace(vae, scaling_factor=0.13025), tiny_config, model, None)
    unknown = replace(model, family=UNKNOWN_FAMILY)
    assert find_mismatch(replace(vae, scaling_factor=0.13025), tiny_config, unknown, None) is None


def test_a_known_vae_is_for_its_families(model, vae):
    mismatch = find_mismatch(vae, SD, model, find_known_vae("sdxl-vae"))
    assert mismatch
    assert mismatch.can_be_forced
    unknown = replace(model, family=UNKNOWN_FAMILY)
    assert find_mismatch(vae, SD, unknown, find_known_vae("sdxl-vae")) is None
