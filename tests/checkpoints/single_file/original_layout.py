"""Write models under the tensor names of the original code, independently of sdcli's tables.

sdcli lists the names that follow from a configuration. Here, the names that Diffusers gave are
rewritten one by one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

State = dict[str, torch.Tensor]

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_TOP = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


def original_unet(state: Mapping[str, torch.Tensor], layers: int) -> State:
    """Rename the tensors of a UNet with the same number of layers in every block."""
    attended = {m[1] for name in state if (m := re.match(r"up_blocks\.(\d+)\.attentions", name))}
    return {_unet_name(name, layers, attended): tensor for name, tensor in state.items()}


def _unet_name(name: str, layers: int, attended: set[str]) -> str:
    module, leaf = name.rsplit(".", 1)
    if module in _TOP:
        return f"{_TOP[module]}.{leaf}"
    if m := re.fullmatch(r"(down|up)_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.(.+)", name):
        side, level, kind, layer, rest = m[1], int(m[2]), m[3], int(m[4]), m[5]
        block = (
            f"input_blocks.{1 + level * (layers + 1) + layer}"
            if side == "down"
            else f"output_blocks.{level * (layers + 1) + layer}"
        )
        if kind == "attentions":
            return f"{block}.1.{rest}"
        inner, leaf = rest.rsplit(".", 1)
        return f"{block}.0.{_RESNET[inner]}.{leaf}"
    if m := re.fullmatch(r"down_blocks\.(\d+)\.downsamplers\.0\.conv\.(.+)", name):
        return f"input_blocks.{(int(m[1]) + 1) * (layers + 1)}.0.op.{m[2]}"
    if m := re.fullmatch(r"up_blocks\.(\d+)\.upsamplers\.0\.conv\.(.+)", name):
        slot = 2 if m[1] in attended else 1
        return f"output_blocks.{int(m[1]) * (layers + 1) + layers}.{slot}.conv.{m[2]}"
    if m := re.fullmatch(r"mid_block\.resnets\.(\d)\.(.+)\.(weight|bias)", name):
        return f"middle_block.{2 * int(m[1])}.{_RESNET[m[2]]}.{m[3]}"
    m = re.fullmatch(r"mid_block\.attentions\.0\.(.+)", name)
    assert m, name
    return f"middle_block.1.{m[1]}"


def original_vae(state: Mapping[str, torch.Tensor], levels: int) -> State:
    """Rename the tensors of a VAE, whose attention becomes convolutions."""
    return {
        _vae_name(name, levels): tensor[:, :, None, None]
        if ".attentions." in name and tensor.ndim == 2
        else tensor
        for name, tensor in state.items()
    }


def _vae_name(name: str, levels: int) -> str:
    name = re.sub(r"down_blocks\.(\d+)\.resnets", r"down.\1.block", name)
    name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(
        r"up_blocks\.(\d+)\.resnets", lambda m: f"up.{levels - 1 - int(m[1])}.block", name
    )
    name = re.sub(
        r"up_blocks\.(\d+)\.upsamplers\.0",
        lambda m: f"up.{levels - 1 - int(m[1])}.upsample",
        name,
    )
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    name = name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
    if "mid_block.attentions.0." in name:
        name = name.replace("mid_block.attentions.0.", "mid.attn_1.")
        name = name.replace("group_norm", "norm").replace("to_out.0", "proj_out")
        name = re.sub(r"to_([qkv])\.", r"\1.", name)
    return name


def original_clip(state: Mapping[str, torch.Tensor]) -> State:
    """Give the tensors of a text encoder the names of older versions of Transformers."""
    named = {
        name if name.startswith("text_") else f"text_model.{name}": tensor
        for name, tensor in state.items()
    }
    positions = named["text_model.embeddings.position_embedding.weight"].shape[0]
    ids = torch.arange(positions)[None]
    return named | {"text_model.embeddings.position_ids": ids}


def openclip(state: Mapping[str, torch.Tensor], extra_layers: int = 0) -> State:
    """Rename the tensors of a text encoder to those of OpenCLIP.

    `extra_layers` are further copies of the last layer, as the files of Stable Diffusion 2 have.
    """
    old = {name.removeprefix("text_model."): tensor for name, tensor in state.items()}
    embeddings = old["embeddings.position_embedding.weight"]
    new = {
        "positional_embedding": embeddings,
        "token_embedding.weight": old["embeddings.token_embedding.weight"],
        "logit_scale": torch.tensor(4.6),
        "text_projection": old["text_projection.weight"].T.contiguous()
        if "text_projection.weight" in old
        else torch.eye(embeddings.shape[1]),
    }
    layers = 1 + max(int(m[1]) for n in old if (m := re.match(r"encoder\.layers\.(\d+)\.", n)))
    pairs = {
        "self_attn.out_proj": "attn.out_proj",
        "layer_norm1": "ln_1",
        "layer_norm2": "ln_2",
        "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj",
    }
    for leaf in ("weight", "bias"):
        new[f"ln_final.{leaf}"] = old[f"final_layer_norm.{leaf}"]
        for layer in range(layers + extra_layers):
            source = f"encoder.layers.{min(layer, layers - 1)}"
            target = f"transformer.resblocks.{layer}"
            new[f"{target}.attn.in_proj_{leaf}"] = torch.cat(
                [old[f"{source}.self_attn.{x}_proj.{leaf}"] for x in "qkv"]
            )
            for name, other in pairs.items():
                new[f"{target}.{other}.{leaf}"] = old[f"{source}.{name}.{leaf}"]
    return new


def with_prefix(prefix: str, state: Mapping[str, torch.Tensor]) -> State:
    """Put a prefix before every name."""
    return {prefix + name: tensor for name, tensor in state.items()}


def checkpoint(components: Mapping[str, Any], *, is_sd2: bool = False) -> State:
    """Return the tensors of a single file with these models of Diffusers and Transformers."""
    unet, vae = components["unet"], components["vae"]
    state = with_prefix(
        "model.diffusion_model.", original_unet(unet.state_dict(), unet.config.layers_per_block)
    )
    levels = len(vae.config.block_out_channels)
    state |= with_prefix("first_stage_model.", original_vae(vae.state_dict(), levels))
    first, second = components.get("text_encoder"), components.get("text_encoder_2")
    if second is not None:
        state |= with_prefix(
            f"conditioner.embedders.{0 if first is None else 1}.model.",
            openclip(second.state_dict()),
        )
        if first is not None:
            state |= with_prefix(
                "conditioner.embedders.0.transformer.", original_clip(first.state_dict())
            )
        return state | {"denoiser.sigmas": torch.linspace(0.03, 14.6, 1000)}
    assert first is not None
    if is_sd2:
        state |= with_prefix("cond_stage_model.model.", openclip(first.state_dict(), 1))
    else:
        state |= with_prefix("cond_stage_model.transformer.", original_clip(first.state_dict()))
    return state | {"betas": torch.linspace(0.001, 0.01, 1000), "alphas_cumprod": torch.ones(1000)}


def ema_twins(state: Mapping[str, torch.Tensor]) -> State:
    """Return the averages that training code keeps, under its names without dots."""
    prefix = "model.diffusion_model."
    averages = {
        "model_ema." + name.removeprefix("model.").replace(".", ""): tensor * 0.5
        for name, tensor in state.items()
        if name.startswith(prefix)
    }
    return averages | {"model_ema.decay": torch.tensor(0.9999)}


def save(state: Mapping[str, torch.Tensor], path: Path, **metadata: str) -> Path:
    """Write a safetensors file."""
    save_file({name: tensor.contiguous().clone() for name, tensor in state.items()}, path, metadata)
    return path
