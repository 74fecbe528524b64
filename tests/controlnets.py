"""Small ControlNets of random weights for a model, as folders and as single files of every kind."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file

from tests.checkpoints.single_file.original_layout import original_unet

LAYOUTS: Final = ("control_model", "bare", "diffusers")
"""The names of tensors in single files: of the original code with and without prefix, Diffusers'.
"""


def make_controlnet(unet: Any, seed: int = 0, **changes: Any) -> Any:
    """Make a ControlNet for a UNet whose effect is easy to see: its last layers are not zero."""
    from diffusers import ControlNetModel

    torch.manual_seed(seed)
    if unet.config.in_channels != 4:
        changes = {**_config(unet), "in_channels": 4, **changes}
        network = ControlNetModel(**changes)
    elif changes:
        network = ControlNetModel(**{**_config(unet), **changes})
    else:
        network = ControlNetModel.from_unet(unet)
    for name, parameter in network.named_parameters():
        if re.match(r"controlnet_(down|mid)_block|controlnet_cond_embedding.conv_out", name):
            torch.nn.init.normal_(parameter, std=0.2)
    return network.eval()


def _config(unet: Any) -> dict[str, Any]:
    import inspect

    from diffusers import ControlNetModel

    known = inspect.signature(ControlNetModel.__init__).parameters
    return {k: v for k, v in dict(unet.config).items() if k in known and not k.startswith("_")}


def write_controlnet(network: Any, path: Path, layout: str) -> Path:
    """Write a ControlNet as one file with the names of a layout."""
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    if layout != "diffusers":
        state = _original(state, network.config.layers_per_block)
    if layout == "control_model":
        state = {f"control_model.{name}": tensor for name, tensor in state.items()}
    save_file(state, path)
    return path


def _original(state: dict[str, torch.Tensor], layers: int) -> dict[str, torch.Tensor]:
    own = {name: tensor for name, tensor in state.items() if "controlnet_" in name}
    rest = {name: tensor for name, tensor in state.items() if name not in own}
    return original_unet(rest, layers) | {_rename(name): tensor for name, tensor in own.items()}


def _rename(name: str) -> str:
    name = re.sub(r"controlnet_down_blocks\.(\d+)", r"zero_convs.\1.0", name)
    name = name.replace("controlnet_mid_block", "middle_block_out.0")
    name = name.replace("controlnet_cond_embedding.conv_in", "input_hint_block.0")
    name = name.replace("controlnet_cond_embedding.conv_out", "input_hint_block.14")
    blocks = r"controlnet_cond_embedding\.blocks\.(\d+)"
    return re.sub(blocks, lambda m: f"input_hint_block.{2 * int(m[1]) + 2}", name)
