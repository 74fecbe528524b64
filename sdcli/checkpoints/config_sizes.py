"""Compare the sizes in a configuration with the shapes of the weights.

A library that is told of a layer of another size builds it first, and fills the memory with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from sdcli.checkpoints.component_configs import read_config
from sdcli.checkpoints.safetensors_header import SafetensorsHeader
from sdcli.errors import CorruptError, ModelError

_WIDTHS: Final = {
    "unet": ("block_out_channels", "cross_attention_dim", "in_channels", "out_channels"),
    "vae": ("block_out_channels", "latent_channels", "in_channels", "out_channels"),
    "text_encoder": (
        "hidden_size",
        "intermediate_size",
        "vocab_size",
        "max_position_embeddings",
    ),
}
"""Keys whose numbers are sides of tensors."""

_LAYER: Final = re.compile(r"\.layers\.(\d+)\.")


def check_sizes(component: str, config_file: Path, header: SafetensorsHeader) -> None:
    """Raise CorruptError for a size in the configuration that no tensor has."""
    config = read_config(config_file, component)
    sides = {side for tensor in header.tensors.values() for side in tensor.shape}
    for key in _WIDTHS[component]:
        for width in _numbers(config.get(key)):
            if width not in sides:
                raise _mismatch_error(component, config_file, key, width)
    if component == "text_encoder":
        layers = {int(match[1]) for name in header.tensors if (match := _LAYER.search(name))}
        count = config.get("num_hidden_layers")
        if count is not None and count != len(layers):
            raise _mismatch_error(component, config_file, "num_hidden_layers", count)


def check_text_width(folder: Path) -> None:
    """Raise ModelError unless the UNet takes embeddings of the text encoder's width."""
    width = _text_width(read_config(folder / "text_encoder" / "config.json", "text_encoder"))
    unet = read_config(folder / "unet" / "config.json", "unet")
    if unet.get("encoder_hid_dim_type") is None:
        expected = set(_numbers(unet.get("cross_attention_dim", 1280)))
        if expected - {width}:
            raise ModelError(
                f"{folder}: its UNet takes embeddings {max(expected - {width})} wide, but those of "
                f"its text encoder are {width}",
                code="model.incompatible",
                hint="use the text encoder that the model was trained with",
            )


def _text_width(config: Mapping[str, Any]) -> int:
    return int(config.get("hidden_size", 512))


def _numbers(value: object) -> Iterator[int]:
    if isinstance(value, int):
        yield value
    for item in value if isinstance(value, list) else ():
        yield from _numbers(item)


def _mismatch_error(component: str, path: Path, key: str, value: object) -> CorruptError:
    return CorruptError(
        f"{component}: {path}: {key} is {value}, which does not fit the weights",
        code="model.corrupt",
        hint="download the model again",
    )
