"""Infer the configuration of a VAE in a single file from the shapes of its tensors.

Supports the layout of the original Stable Diffusion checkpoints (`encoder.down.0.block.0...`) and
that of Diffusers (`encoder.down_blocks.0.resnets.0...`). Diffusers' `from_single_file` would
download a configuration from the hub instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from sdcli.catalog.known_vaes import SD_SCALING_FACTOR, SDXL_SCALING_FACTOR
from sdcli.checkpoints.safetensors_header import SafetensorsHeader, TensorInfo
from sdcli.checkpoints.single_file.detection import detect
from sdcli.errors import CorruptError, ModelError

# Prefixes of the VAE's tensors in files that hold a whole model; "" is for a VAE alone.
_PREFIXES: Final = ("first_stage_model.", "vae.", "")
_BLOCK: Final = re.compile(
    r"encoder\.(?:down|down_blocks)\.(\d+)\.(?:block|resnets)\.(\d+)\.conv1\.weight"
)
_TAESD_NAME: Final = re.compile(r"((en|de)coder\.)?(layers\.)?\d+\.(weight|conv\..*)")
_SIZED: Final = ("encoder.conv_in.weight", "decoder.conv_in.weight", "decoder.conv_out.weight")
_DEFAULT_NORM_GROUPS: Final = 32
_SDXL_NAME: Final = re.compile(r"(^|[^a-z])(sd)?xl([^a-z]|$)|stable-diffusion-xl", re.IGNORECASE)

Shapes = Mapping[str, tuple[int, ...]]


def infer_vae_config(
    path: Path, header: SafetensorsHeader, model_vae_config: Mapping[str, Any]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return a configuration for AutoencoderKL, and sentences about its assumptions.

    A VAE's tensors do not show the scaling factor. It is that of the family if the file holds a
    whole model of a known one. Otherwise it is that of SDXL if the file's name or metadata says
    so, or else that of `model_vae_config`, the configuration of the model's own VAE. Raises
    ModelError for other layouts, and CorruptError for a file that lacks a layer.
    """
    shapes = _vae_shapes(header)
    blocks = _encoder_blocks(shapes)
    if "encoder.conv_out.weight" not in shapes or not blocks:
        raise _unknown_layout_error(path, header, shapes)
    _check_convolutions(path, header, [*_SIZED, *(names[0] for names in blocks.values())])
    factor, assumptions = _infer_scaling_factor(path, header, model_vae_config)
    config = {
        "_class_name": "AutoencoderKL",
        "act_fn": "silu",
        "sample_size": 512,
        "scaling_factor": factor,
        **_architecture(shapes, blocks, model_vae_config),
    }
    return config, assumptions


def _architecture(
    shapes: Shapes, blocks: Mapping[int, list[str]], model_vae_config: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the part of the configuration that follows from the shapes."""
    channels = [shapes[blocks[level][0]][0] for level in sorted(blocks)]
    return {
        "in_channels": shapes["encoder.conv_in.weight"][1],
        "out_channels": shapes["decoder.conv_out.weight"][0],
        "down_block_types": ["DownEncoderBlock2D"] * len(channels),
        "up_block_types": ["UpDecoderBlock2D"] * len(channels),
        "block_out_channels": channels,
        "layers_per_block": len(blocks[0]),
        "latent_channels": shapes["decoder.conv_in.weight"][1],
        "norm_num_groups": _infer_norm_groups(channels, model_vae_config),
        "use_quant_conv": "quant_conv.weight" in shapes,
        "use_post_quant_conv": "post_quant_conv.weight" in shapes,
        # "mid.attn_1" in the original layout, "mid_block.attentions" in that of Diffusers.
        "mid_block_add_attention": any(".mid" in name and "att" in name for name in shapes),
    }


def _check_convolutions(path: Path, header: SafetensorsHeader, names: Iterable[str]) -> None:
    """Raise CorruptError unless the VAE has convolutions of these names, which tell its sizes."""
    for name in (_find_prefix(header) + name for name in names):
        if name not in header.tensors:
            problem = f"vae: {path} lacks {name}"
        elif len(shape := header.tensors[name].shape) != 4:
            problem = f"vae: {path}: {name} has the shape {shape}, but a convolution has 4 sides"
        else:
            continue
        raise CorruptError(problem, code="model.corrupt", hint="download the file again")


def _vae_shapes(header: SafetensorsHeader) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the VAE's tensors, with names relative to the VAE."""
    prefix = _find_prefix(header)
    return {name.removeprefix(prefix): tensor.shape for name, tensor in vae_tensors(header).items()}


def vae_tensors(header: SafetensorsHeader) -> dict[str, TensorInfo]:
    """Return the VAE's tensors of a file that may hold a whole model."""
    prefix = _find_prefix(header)
    return {name: info for name, info in header.tensors.items() if name.startswith(prefix)}


def _find_prefix(header: SafetensorsHeader) -> str:
    names = header.tensors
    return next(p for p in _PREFIXES if not p or any(name.startswith(p) for name in names))


def _encoder_blocks(shapes: Shapes) -> dict[int, list[str]]:
    """Map each level of the encoder to the first convolutions of its blocks.

    Empty if a level is missing.
    """
    blocks: dict[int, list[str]] = {}
    for name in sorted(shapes):
        if match := _BLOCK.fullmatch(name):
            blocks.setdefault(int(match[1]), []).append(name)
    return blocks if sorted(blocks) == list(range(len(blocks))) else {}


def _infer_norm_groups(channels: list[int], model_vae_config: Mapping[str, Any]) -> int:
    """Return the number of groups of the group normalization.

    No shape depends on it. It is 32 in Stable Diffusion's VAEs. A file with the same channels as
    the model's own VAE is assumed to have the same number as well.
    """
    is_same = list(model_vae_config.get("block_out_channels", ())) == channels
    groups = model_vae_config.get("norm_num_groups", _DEFAULT_NORM_GROUPS)
    return int(groups) if is_same else _DEFAULT_NORM_GROUPS


def _infer_scaling_factor(
    path: Path, header: SafetensorsHeader, model_vae_config: Mapping[str, Any]
) -> tuple[float, tuple[str, ...]]:
    if family := detect(header).family:
        is_xl = family.base.startswith("sdxl")
        return SDXL_SCALING_FACTOR if is_xl else SD_SCALING_FACTOR, ()
    architecture = header.metadata.get("modelspec.architecture", "")
    if _SDXL_NAME.search(path.stem) or _SDXL_NAME.search(architecture):
        return SDXL_SCALING_FACTOR, (
            f"VAE: {path.name} is assumed to be for SDXL, by its name or metadata, with the "
            f"scaling factor {SDXL_SCALING_FACTOR:g}",
        )
    # The factor of an AutoencoderTiny, 1, says nothing about the latents of the large VAE.
    is_tiny = model_vae_config.get("_class_name") == "AutoencoderTiny"
    config = {} if is_tiny else model_vae_config
    factor = float(config.get("scaling_factor", SD_SCALING_FACTOR))
    return factor, (f"VAE: {path.name} does not contain its scaling factor, {factor:g} is assumed",)


def _unknown_layout_error(path: Path, header: SafetensorsHeader, shapes: Shapes) -> ModelError:
    found = detect(header)
    problem = "does not have the layout of Stable Diffusion's VAE"
    if any(_TAESD_NAME.fullmatch(name) for name in shapes):
        problem += "; it looks like one half of a TAESD"
    elif found.other and found.other.id != "approximate-vae":
        problem = f"is {found.other.name}, not a VAE"
    elif found.kind == "text_encoder":
        problem = "is a text encoder, not a VAE"
    elif found.kind == "model" and "vae" not in found.parts:
        problem = "is a model without a VAE"
    return ModelError(
        f"VAE: {path} {problem}",
        code="model.vae",
        hint="such VAEs can be loaded from a folder or a repository, for example --vae taesd"
        if "layout" in problem
        else "--vae takes a name of `sdcli vae list`, a Hugging Face id, a folder or a file",
    )
