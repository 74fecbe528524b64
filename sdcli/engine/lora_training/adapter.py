"""Add a LoRA of PEFT to a UNet, and name its tensors as kohya's sd-scripts do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import torch
from numpy.typing import NDArray
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from torch import nn

from sdcli.lora_training import LoraSettings

TARGETS: Final = (
    r".*attentions\.\d+\.(proj_in|proj_out"
    r"|transformer_blocks\.\d+\.(attn[12]\.(to_[qkv]|to_out\.0)|ff\.net\.(0\.proj|2)))"
)
"""The layers that kohya's sd-scripts train by default: all of the transformer blocks."""

_NAME: Final = "default"


def add_lora(unet: Any, settings: LoraSettings) -> Mapping[str, nn.Parameter]:
    """Freeze a UNet, add a LoRA to its transformer blocks, and return its parameters by name.

    They are float32, also in a UNet of half precision, and begin at a change of zero.
    """
    unet.requires_grad_(False)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        init_lora_weights="gaussian",
        target_modules=TARGETS,
    )
    # The seed of the whole process is not ours to set.
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        unet.add_adapter(config)
    parameters = {
        f"{name}.{part}": factor
        for name, layer in _layers(unet)
        for part, factor in _factors(layer).items()
    }
    # In half precision, small updates would be rounded away.
    for parameter in parameters.values():
        parameter.data = parameter.data.float()
    return parameters


def _layers(unet: Any) -> Iterator[tuple[str, Any]]:
    for name, module in unet.named_modules():
        if isinstance(module, LoraLayer):
            yield f"lora_unet_{name.replace('.', '_')}", module


def _factors(layer: Any) -> dict[str, nn.Parameter]:
    return {
        "lora_down.weight": layer.lora_A[_NAME].weight,
        "lora_up.weight": layer.lora_B[_NAME].weight,
    }


def with_alphas(
    parameters: Mapping[str, NDArray[Any]], alpha: NDArray[Any]
) -> dict[str, NDArray[Any]]:
    """Return the tensors of a LoRA's file: the factors, and the alpha of each layer."""
    layers = dict.fromkeys(name.partition(".")[0] for name in parameters)
    return {**parameters, **{f"{layer}.alpha": alpha for layer in layers}}
