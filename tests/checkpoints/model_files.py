"""Small model folders and safetensors files to test with."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ONE_TENSOR = {"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
COMPONENTS = {
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
}


def write_model(
    folder: Path,
    *,
    unet: Mapping[str, Any] | None = None,
    vae: Mapping[str, Any] | None = None,
    index: Any = None,
    defaults: Any = None,
    scheduler: Mapping[str, Any] | None = None,
) -> Path:
    """Write the JSON files of a Stable Diffusion 1 model with changes; text is written as it is."""
    scheduler = {"_class_name": "PNDMScheduler", **(scheduler or {})}
    if isinstance(index, dict | None):
        entries = {**COMPONENTS, "scheduler": ["diffusers", scheduler["_class_name"]]}
        index = {"_class_name": "StableDiffusionPipeline", **entries, **(index or {})}
    files = {
        "model_index.json": index,
        "unet/config.json": {"sample_size": 64, "cross_attention_dim": 768, **(unet or {})},
        "vae/config.json": {
            "_class_name": "AutoencoderKL",
            "block_out_channels": [1, 2, 4, 4],
            "latent_channels": 4,
            **(vae or {}),
        },
        "scheduler/scheduler_config.json": scheduler,
        "text_encoder/config.json": {"num_hidden_layers": 12},
    }
    if defaults is not None:
        files["sdcli.json"] = defaults
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def pack(header: object, data: bytes) -> bytes:
    """Return a safetensors file with any header, valid or not."""
    raw = json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + data


def pack_zeros(shapes: Mapping[str, tuple[int, ...]], metadata: Mapping[str, str]) -> bytes:
    """Return a valid safetensors file of half-precision zeros."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [begin, end]}
    return pack(header, bytes(end))
