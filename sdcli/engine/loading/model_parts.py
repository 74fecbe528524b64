"""Load the UNet, the text encoders and the tokenizers of a model from its checked files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from sdcli.checkpoints import weights
from sdcli.checkpoints.component_configs import read_config
from sdcli.checkpoints.config_sizes import check_sizes
from sdcli.checkpoints.model_index import find_text_encoders, find_tokenizers
from sdcli.checkpoints.text_encoder import (
    COMPONENT,
    ChosenTextEncoder,
    find_component_weights,
)
from sdcli.checkpoints.weight_files import WeightFiles
from sdcli.engine.loading.components import load_component
from sdcli.engine.loading.layerwise_casting import store_weights
from sdcli.engine.loading.tokenizer import load_tokenizer
from sdcli.pipeline_spec import PipelineSpec

_CLASSES: Final = {
    "unet": UNet2DConditionModel,
    "text_encoder": CLIPTextModel,
    "text_encoder_2": CLIPTextModelWithProjection,
}
"""The components with weights, without the VAE."""


def part_names(folder: Path) -> tuple[str, ...]:
    """Return the names of the components that `load_parts` loads."""
    return ("unet", *find_text_encoders(folder), *find_tokenizers(folder))


def find_part_files(
    spec: PipelineSpec, folder: Path, chosen: ChosenTextEncoder | None
) -> dict[str, WeightFiles]:
    """Return the checked weights of the UNet and the text encoders of the spec's model.

    `chosen` replaces one of them. Raises ModelError and its relatives.
    """
    names = ("unet", *find_text_encoders(folder))
    files = find_component_weights(spec, folder, names, chosen)
    for name, component_files in files.items():
        header = weights.check_weights(name, component_files)
        # The tensors of a single file are compared with the model one by one.
        if component_files.sources is None:
            is_chosen = chosen and name == COMPONENT
            config_file = folder / name / "config.json"
            check_sizes(name, chosen.config_file if chosen and is_chosen else config_file, header)
    return files


def load_parts(
    folder: Path,
    files: Mapping[str, WeightFiles],
    chosen: ChosenTextEncoder | None,
    dtype: torch.dtype,
    weights_dtype: str | None = None,
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Load the components of `part_names`, and return sentences about them for the user.

    The weights of the UNet are stored in the named type.
    """
    encoders = find_text_encoders(folder)
    parts = {name: _load(name, folder, chosen, files[name], dtype) for name in ("unet", *encoders)}
    store_weights(parts["unet"], weights_dtype, dtype)
    notes: tuple[str, ...] = ()
    for encoder, name in zip(encoders, find_tokenizers(folder), strict=True):
        positions = parts[encoder].config.max_position_embeddings
        path = folder / name
        if chosen and chosen.tokenizer and encoder == COMPONENT:
            path = chosen.tokenizer
        parts[name], tokenizer_notes = load_tokenizer(path, positions, name)
        notes += tokenizer_notes
    return parts, notes


def _load(
    name: str,
    folder: Path,
    chosen: ChosenTextEncoder | None,
    files: WeightFiles,
    dtype: torch.dtype,
) -> Any:
    if chosen and name == COMPONENT:
        config_file, config = chosen.config_file, dict(chosen.config)
    else:
        config_file = folder / name / "config.json"
        config = read_config(config_file, name)
    return load_component(name, _CLASSES[name], config_file, config, files, dtype)
