"""Configurations inferred from the shapes of a VAE's tensors."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdcli.checkpoints.safetensors_header import SafetensorsHeader, read_header
from sdcli.checkpoints.vae_config import infer_vae_config
from sdcli.errors import ModelError
from tests.checkpoints.model_files import pack_zeros


def vae_shapes(prefix: str = "", levels: int = 3) -> dict[str, tuple[int, ...]]:
    """The tensors of a VAE in the original layout that the configuration depends on."""
    shapes = {
        "encoder.conv_in.weight": (8, 3, 3, 3),
        "encoder.conv_out.weight": (8, 8, 3, 3),
        "decoder.conv_in.weight": (8, 4, 3, 3),
        "decoder.conv_out.weight": (3, 8, 3, 3),
        "encoder.mid.attn_1.q.weight": (8, 8, 1, 1),
        "quant_conv.weight": (8, 8, 1, 1),
    }
    for level in range(levels):
        for block in range(2):
            name = f"encoder.down.{level}.block.{block}.conv1.weight"
            shapes[name] = (8 * (level + 1), 8, 3, 3)
    return {prefix + name: shape for name, shape in shapes.items()}


def write(path: Path, shapes, metadata=None) -> SafetensorsHeader:
    path.write_bytes(pack_zeros(shapes, metadata or {}))
    return read_header(path)


@pytest.mark.parametrize("prefix", ["", "vae.", "first_stage_model."])
def test_the_shapes_give_the_architecture(tmp_path, prefix):
    path = tmp_path / "a.safetensors"
    shapes = vae_shapes(prefix) | ({f"{prefix[:0]}unet.x": (1,)} if prefix else {})
    config, _ = infer_vae_config(path, write(path, shapes), {})
    assert config["_class_name"] == "AutoencoderKL"
    assert config["block_out_channels"] == [8, 16, 24]
    assert config["layers_per_block"] == 2
    assert (config["in_channels"], config["latent_channels"]) == (3, 4)
    assert len(config["down_block_types"]) == len(config["up_block_types"]) == 3
    assert config["use_quant_conv"]
    assert not config["use_post_quant_conv"]
    assert config["mid_block_add_attention"]


@pytest.mark.parametrize(
    ("name", "metadata", "own", "factor"),
    [
        ("plain", {}, {}, 0.18215),
        ("plain", {}, {"scaling_factor": 0.5}, 0.5),
        ("plain", {}, {"_class_name": "AutoencoderTiny", "scaling_factor": 1.0}, 0.18215),
        ("sdxl_vae", {}, {"scaling_factor": 0.5}, 0.13025),
        ("my-XL-vae", {}, {}, 0.13025),
        ("pixlr", {}, {}, 0.18215),
        ("a", {"modelspec.architecture": "stable-diffusion-xl-v1-base/vae"}, {}, 0.13025),
    ],
)
def test_the_scaling_factor_is_assumed_and_reported(tmp_path, name, metadata, own, factor):
    path = tmp_path / f"{name}.safetensors"
    config, assumptions = infer_vae_config(path, write(path, vae_shapes(), metadata), own)
    assert config["scaling_factor"] == factor
    [sentence] = assumptions
    assert f"{factor:g}" in sentence
    assert path.name in sentence


def test_the_norm_groups_are_those_of_a_model_with_the_same_channels(tmp_path):
    path = tmp_path / "a.safetensors"
    header = write(path, vae_shapes())
    own = {"block_out_channels": [8, 16, 24], "norm_num_groups": 8}
    assert infer_vae_config(path, header, own)[0]["norm_num_groups"] == 8
    assert infer_vae_config(path, header, own | {"block_out_channels": [8]})[0][
        "norm_num_groups"
    ] == 32  # fmt: skip


def test_other_layouts_are_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    with pytest.raises(ModelError, match="layout") as caught:
        infer_vae_config(path, write(path, {"model.weight": (2,)}), {})
    assert "TAESD" not in caught.value.message
    with pytest.raises(ModelError, match="one half of a TAESD"):
        infer_vae_config(path, write(path, {"3.conv.0.weight": (2,)}), {})
    missing_level = vae_shapes()
    del missing_level["encoder.down.1.block.0.conv1.weight"]
    del missing_level["encoder.down.1.block.1.conv1.weight"]
    with pytest.raises(ModelError, match="layout"):
        infer_vae_config(path, write(path, missing_level), {})
