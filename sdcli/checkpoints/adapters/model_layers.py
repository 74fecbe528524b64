"""List the layers of a model that a LoRA can change, from the headers of its own weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from sdcli.checkpoints.component_configs import read_config
from sdcli.checkpoints.hub import fetch_model
from sdcli.checkpoints.model_index import find_text_encoders
from sdcli.checkpoints.recorded import local_states
from sdcli.checkpoints.single_file.unet_names import unet_names
from sdcli.checkpoints.text_encoder import find_component_weights, select_text_encoder
from sdcli.checkpoints.weights import check_weights
from sdcli.errors import ModelError
from sdcli.pipeline_spec import PipelineSpec

TEXT_PREFIX: Final = "text_model."
"""Prefix of a text encoder's layers, which versions of Transformers have or leave out."""

Shapes = Mapping[str, tuple[int, ...]]
"""The shapes of a layer's parameters, by "weight" and "bias"."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelLayers:
    """The layers of each component, as Diffusers names them, and how files spell their names.

    `spellings` has names joined by underscores: those of Diffusers, and of the original code.
    """

    shapes: Mapping[tuple[str, str], Shapes]
    spellings: Mapping[tuple[str, str], str]
    text_width: int | None


def read_layers(spec: PipelineSpec) -> ModelLayers:
    """Read the layers of a spec's model. Raises the errors of `fetch_model` and of its weights."""
    return _read_layers(spec, local_states(spec))


@lru_cache(maxsize=16)
def _read_layers(spec: PipelineSpec, states: object) -> ModelLayers:
    del states  # a model that has changed is read again
    folder = fetch_model(spec)
    shapes: dict[tuple[str, str], dict[str, tuple[int, ...]]] = {}
    names = ("unet", *find_text_encoders(folder))
    chosen = select_text_encoder(spec, folder)
    for component, files in find_component_weights(spec, folder, names, chosen).items():
        header = check_weights(component, files)
        for name, tensor in header.tensors.items():
            layer, _, leaf = name.rpartition(".")
            key = component, layer.removeprefix(TEXT_PREFIX) if component != "unet" else layer
            shapes.setdefault(key, {})[leaf] = tensor.shape
    spellings = {(c, layer.replace(".", "_")): layer for c, layer in shapes}
    config = read_config(folder / "unet" / "config.json", "unet")
    try:
        originals = dict(unet_names(config))
    except ModelError:  # a UNet of Diffusers only: no file has other names for it
        originals = {}
    for diffusers, original in originals.items():
        layer = diffusers.rpartition(".")[0]
        spellings.setdefault(("unet", original.rpartition(".")[0].replace(".", "_")), layer)
    width = config.get("cross_attention_dim")
    return ModelLayers(
        shapes=shapes, spellings=spellings, text_width=width if isinstance(width, int) else None
    )
