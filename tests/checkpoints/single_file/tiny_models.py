"""Random models of every family, a few thousand times smaller than the published ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.checkpoints.single_file.configurations import (
    component_configs,
    model_index,
)
from sdcli.checkpoints.single_file.families import FAMILIES
from sdcli.checkpoints.single_file.training import Prediction
from tests.checkpoints.single_file.original_layout import State, checkpoint

SUPPORTED = [family.id for family in FAMILIES.values() if family.supported]
SUPPORTED.remove("sdxl-refiner-inpaint")

CLASSES: Mapping[str, Any] = {
    "unet": UNet2DConditionModel,
    "vae": AutoencoderKL,
    "text_encoder": CLIPTextModel,
    "text_encoder_2": CLIPTextModelWithProjection,
}
EPSILON = Prediction(type="epsilon", certainty="usual", reason="")


def real_configs(family: str) -> dict[str, dict[str, Any]]:
    """The configurations of a published model."""
    return component_configs(FAMILIES[family], EPSILON, None)


def tiny_configs(family: str) -> dict[str, dict[str, Any]]:
    """The same structure in small."""
    configs = real_configs(family)
    unet = configs["unet"]
    levels = len(unet["block_out_channels"])
    unet |= {
        "block_out_channels": [16, 32, 32, 32][:levels],
        "norm_num_groups": 8,
        "sample_size": 8,
        "attention_head_dim": 4,
    }
    if "transformer_layers_per_block" in unet:
        # The refiner has one number for all levels, the base model one for each.
        is_list = isinstance(unet["transformer_layers_per_block"], list)
        unet["transformer_layers_per_block"] = [1, 2, 3] if is_list else 2
    configs["vae"] |= {"block_out_channels": [8, 16, 16, 16], "norm_num_groups": 4}
    # Diffusers recognises the second encoder by its tenth layer.
    small = {"intermediate_size": 24, "num_attention_heads": 2, "vocab_size": 1600}
    widths = {"text_encoder": (16, 3), "text_encoder_2": (24, 10)}
    for name, (width, layers) in widths.items():
        if name in configs:
            sizes = {"hidden_size": width, "projection_dim": width, "num_hidden_layers": layers}
            configs[name] |= small | sizes
    unet["cross_attention_dim"] = sum(widths[name][0] for name in widths if name in configs)
    if "text_encoder_2" in configs:
        ids = 6 if "text_encoder" in configs else 5
        unet["addition_time_embed_dim"] = 8
        unet["projection_class_embeddings_input_dim"] = 24 + 8 * ids
    return configs


def build(configs: Mapping[str, Mapping[str, Any]], seed: int = 0) -> dict[str, Any]:
    """Build the models with random weights, every one of them different."""
    torch.manual_seed(seed)
    models = {}
    for name, cls in CLASSES.items():
        if name in configs:
            models[name] = (
                cls.from_config(dict(configs[name]))
                if hasattr(cls, "from_config")
                else cls(CLIPTextConfig(**configs[name]))
            ).eval()
            for parameter in models[name].parameters():
                # Norms and biases begin as ones and zeros, which would hide an exchange.
                parameter.data.add_(torch.randn(parameter.shape) * 0.02)
    return models


def tensors(family: str, models: Mapping[str, Any]) -> State:
    """The tensors of the models in a single file."""
    return checkpoint(models, is_sd2=family.startswith("sd2"))


def write_configs(folder: Path, family: str, configs: Mapping[str, Mapping[str, Any]]) -> Path:
    """Write a folder for --model-config, with the vocabulary of the embedded model."""
    documents: dict[str, Any] = {"model_index.json": model_index(FAMILIES[family], dict(configs))}
    for name, config in configs.items():
        file = "scheduler_config.json" if name == "scheduler" else "config.json"
        documents[f"{name}/{file}"] = config
    for name, document in documents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(document))
    for name in ("text_encoder", "text_encoder_2"):
        if name in configs:
            tokenizer = folder / name.replace("text_encoder", "tokenizer")
            shutil.copytree(EMBEDDED_FOLDER / "tokenizer", tokenizer)
    return folder
