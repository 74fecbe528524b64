"""Compare the sizes in a configuration with the shapes of the weights.

A library that is told of a layer of another size builds it first, and fills the memory with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from sdcli.checkpoints.component_configs import read_config
from sdcli.checkpoints.model_index import find_text_encoders
from sdcli.checkpoints.safetensors_header import SafetensorsHeader
from sdcli.errors import CorruptError, ModelError

_TEXT_ENCODER_WIDTHS: Final = (
    "hidden_size",
    "intermediate_size",
    "vocab_size",
    "max_position_embeddings",
)
_WIDTHS: Final = {
    "unet": (
        "block_out_channels",
        "cross_attention_dim",
        "in_channels",
        "out_channels",
        "projection_class_embeddings_input_dim",
    ),
    "controlnet": (
        "block_out_channels",
        "cross_attention_dim",
        "in_channels",
        "conditioning_channels",
        "conditioning_embedding_out_channels",
        "projection_class_embeddings_input_dim",
    ),
    "vae": ("block_out_channels", "latent_channels", "in_channels", "out_channels"),
    "text_encoder": _TEXT_ENCODER_WIDTHS,
    "image_encoder": ("hidden_size", "intermediate_size", "projection_dim", "patch_size"),
    "text_encoder_2": (*_TEXT_ENCODER_WIDTHS, "projection_dim"),
}
"""Keys whose numbers are sides of tensors."""

_LAYER: Final = re.compile(r"\.layers\.(\d+)\.")

_DEPTHS: Final = {
    "layers_per_block": re.compile(r"\.resnets\.(\d+)\."),
    "transformer_layers_per_block": re.compile(r"\.transformer_blocks\.(\d+)\."),
}
"""Keys that count layers, and the number of a layer in the names of its tensors."""


def check_sizes(component: str, config_file: Path, header: SafetensorsHeader) -> None:
    """Raise CorruptError for a size in the configuration that no tensor has."""
    config = read_config(config_file, component)
    sides = {side for tensor in header.tensors.values() for side in tensor.shape}
    for key in _WIDTHS[component]:
        for width in _numbers(config.get(key)):
            if width not in sides:
                raise _mismatch_error(component, config_file, key, width)
    for key, pattern in _DEPTHS.items():
        most = max(
            (int(m[1]) + 1 for n in header.tensors if (m := pattern.search(n))), default=None
        )
        for count in _numbers(config.get(key)):
            if most is not None and count > most:
                raise _mismatch_error(component, config_file, key, count)
    if component.startswith(("text_encoder", "image_encoder")):
        layers = {int(match[1]) for name in header.tensors if (match := _LAYER.search(name))}
        expected = config.get("num_hidden_layers")
        if expected is not None and expected != len(layers):
            raise _mismatch_error(component, config_file, "num_hidden_layers", expected)


def check_text_width(folder: Path) -> None:
    """Raise ModelError unless the UNet takes embeddings as wide as those of the text encoders."""
    widths = [
        _text_width(read_config(folder / name / "config.json", name))
        for name in find_text_encoders(folder)
    ]
    unet = read_config(folder / "unet" / "config.json", "unet")
    if unet.get("encoder_hid_dim_type") is None:
        expected = set(_numbers(unet.get("cross_attention_dim", 1280)))
        if others := expected - {sum(widths)}:
            is_one = len(widths) == 1
            raise ModelError(
                f"{folder}: its UNet takes embeddings {max(others)} wide, but those of its text "
                f"encoder{'' if is_one else 's'} are {' + '.join(map(str, widths))}",
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
