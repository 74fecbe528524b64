"""The configuration of a VAE that is one file: read off the shapes of its tensors.

The layout is that of the first Stable Diffusion (`encoder.down.0.block.0…`), or Diffusers' own
(`encoder.down_blocks.0.resnets.0…`). Diffusers itself would fetch a configuration from the hub.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sdcli.checkpoints.safetensors_header import SafetensorsHeader
from sdcli.errors import ModelError

_PREFIXES: Final = ("first_stage_model.", "vae.", "")
_BLOCK = re.compile(
    r"encoder\.(?:down|down_blocks)\.(\d+)\.(?:block|resnets)\.(\d+)\.conv1\.weight"
)
_LDM_GROUPS: Final = 32
_SDXL_SCALING_FACTOR: Final = 0.13025
_SDXL = re.compile(r"(^|[^a-z])(sd)?xl([^a-z]|$)|stable-diffusion-xl", re.IGNORECASE)

Shapes = Mapping[str, tuple[int, ...]]


def infer_vae_config(
    path: Path, header: SafetensorsHeader, own: Mapping[str, Any]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A configuration of AutoencoderKL for the file, and sentences on what was assumed.

    The scaling factor is no tensor: the file's name or metadata may say SDXL, else it is taken
    from `own`, the configuration of the model's own VAE. Raises ModelError for other layouts.
    """
    shapes = _shapes(header)
    blocks = _blocks(shapes)
    if "encoder.conv_out.weight" not in shapes or not blocks:
        raise _unknown(path, shapes)
    channels = [shapes[f"{blocks[i][0]}"][0] for i in sorted(blocks)]
    factor, assumed = _scaling_factor(path, header, own)
    config = {
        "_class_name": "AutoencoderKL",
        "in_channels": shapes["encoder.conv_in.weight"][1],
        "out_channels": shapes["decoder.conv_out.weight"][0],
        "down_block_types": ["DownEncoderBlock2D"] * len(channels),
        "up_block_types": ["UpDecoderBlock2D"] * len(channels),
        "block_out_channels": channels,
        "layers_per_block": len(blocks[0]),
        "act_fn": "silu",
        "latent_channels": shapes["decoder.conv_in.weight"][1],
        "norm_num_groups": _groups(channels, own),
        "sample_size": 512,
        "scaling_factor": factor,
        "use_quant_conv": "quant_conv.weight" in shapes,
        "use_post_quant_conv": "post_quant_conv.weight" in shapes,
        "mid_block_add_attention": any(".mid" in name and "attn" in name for name in shapes)
        or any("mid_block.attentions" in name for name in shapes),
    }
    return config, assumed


def _shapes(header: SafetensorsHeader) -> dict[str, tuple[int, ...]]:
    """Shapes by name, of the VAE alone when the file is a whole checkpoint."""
    names = header.tensors
    prefix = next(p for p in _PREFIXES if not p or any(name.startswith(p) for name in names))
    return {
        name.removeprefix(prefix): tensor.shape
        for name, tensor in names.items()
        if name.startswith(prefix)
    }


def _blocks(shapes: Shapes) -> dict[int, list[str]]:
    """Level of the encoder -> the first convolutions of its blocks."""
    blocks: dict[int, list[str]] = {}
    for name in sorted(shapes):
        if match := _BLOCK.fullmatch(name):
            blocks.setdefault(int(match[1]), []).append(name)
    return blocks if sorted(blocks) == list(range(len(blocks))) else {}


def _groups(channels: list[int], own: Mapping[str, Any]) -> int:
    """Groups of the normalisation, which no shape tells: 32, unless the model's own is its twin."""
    same = list(own.get("block_out_channels", ())) == channels
    return int(own.get("norm_num_groups", _LDM_GROUPS)) if same else _LDM_GROUPS


def _scaling_factor(
    path: Path, header: SafetensorsHeader, own: Mapping[str, Any]
) -> tuple[float, tuple[str, ...]]:
    architecture = header.metadata.get("modelspec.architecture", "")
    if _SDXL.search(path.stem) or _SDXL.search(architecture):
        return _SDXL_SCALING_FACTOR, (
            f"VAE: {path.name} is taken for one of SDXL, with the scaling factor "
            f"{_SDXL_SCALING_FACTOR:g}, by its name",
        )
    tiny = own.get("_class_name") == "AutoencoderTiny"
    factor = float(0.18215 if tiny else own.get("scaling_factor", 0.18215))
    return factor, (f"VAE: {path.name} does not say its scaling factor, {factor:g} is assumed",)


def _unknown(path: Path, shapes: Shapes) -> ModelError:
    tiny = any(
        re.fullmatch(r"((en|de)coder\.)?(layers\.)?\d+\.(weight|conv\..*)", n) for n in shapes
    )
    return ModelError(
        f"VAE: {path} is not in the layout of Stable Diffusion's VAE"
        + (", it looks like half of a TAESD" if tiny else ""),
        code="model.vae",
        hint="Diffusers reads such VAEs from a folder or a repository, as in --vae taesd",
    )
