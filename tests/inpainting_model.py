"""A UNet with the inputs of an inpainting model, made of the embedded model's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER


def make_inpainting_model(folder: Path) -> Path:
    """Copy the embedded model with five more input channels, which have a small effect."""
    model = Path(shutil.copytree(EMBEDDED_FOLDER, folder / "inpainting"))
    config_file = model / "unet" / "config.json"
    config = json.loads(config_file.read_text())
    config_file.write_text(json.dumps({**config, "in_channels": 9}))
    [weights] = (model / "unet").glob("*.safetensors")
    tensors = load_file(weights)
    old = tensors["conv_in.weight"]
    new = torch.randn((old.shape[0], 5, *old.shape[2:]), generator=torch.Generator().manual_seed(0))
    tensors["conv_in.weight"] = torch.cat([old, (0.01 * new).to(old.dtype)], dim=1)
    save_file(tensors, weights)
    index_file = model / "model_index.json"
    index = json.loads(index_file.read_text())
    index_file.write_text(json.dumps({**index, "_class_name": "StableDiffusionInpaintPipeline"}))
    return model
