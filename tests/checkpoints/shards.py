"""Split the weights of a component into shards, as the libraries' `save_pretrained` does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file, save_file

STEMS = {
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
}


def index_name(stem: str, variant: str | None) -> str:
    return f"{stem}.safetensors.index.{f'{variant}.' if variant else ''}json"


def shard_names(stem: str, variant: str | None, count: int = 2) -> list[str]:
    prefix = f"{stem}.{variant}" if variant else stem
    return [f"{prefix}-{i:05d}-of-{count:05d}.safetensors" for i in range(1, count + 1)]


def split(folder: Path, component: str, variant: str | None = None, keep: bool = False) -> Path:
    """Split the component's file into two shards; return the path of their index."""
    stem = STEMS[component]
    whole = folder / component / f"{stem}.safetensors"
    tensors = load_file(whole)
    names = sorted(tensors)
    shards = shard_names(stem, variant)
    weight_map = {}
    for shard, part in zip(shards, (names[::2], names[1::2]), strict=True):
        save_file(
            {name: tensors[name] for name in part}, folder / component / shard, {"format": "pt"}
        )
        weight_map |= dict.fromkeys(part, shard)
    if not keep:
        whole.unlink()
    index = folder / component / index_name(stem, variant)
    write_index(index, weight_map)
    return index


def write_index(index: Path, weight_map: Any) -> None:
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
