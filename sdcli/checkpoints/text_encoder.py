"""Read a text encoder that is to replace the model's own, and check that it fits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from sdcli.checkpoints.component_configs import read_config
from sdcli.checkpoints.file_state import cache_by_files
from sdcli.checkpoints.hub import fetch_text_encoder
from sdcli.checkpoints.safetensors_header import SafetensorsHeader, read_header
from sdcli.checkpoints.single_file.detection import detect
from sdcli.checkpoints.single_file.model import find_model_weights
from sdcli.checkpoints.single_file.parts import Part, sort_parts
from sdcli.checkpoints.single_file.tensor_map import map_component
from sdcli.checkpoints.weight_files import WeightFiles
from sdcli.checkpoints.weights import check_weights, find_weights
from sdcli.errors import ModelError
from sdcli.pipeline_spec import PipelineSpec

COMPONENT: Final = "text_encoder"
"""The text encoder that is replaced: the only one, or the first of Stable Diffusion XL."""

_MODEL_TYPES: Final = (None, "clip", "clip_text_model")
_LAYER: Final = re.compile(r"(?:layers|resblocks)\.(\d+)\.")
_SIZES: Final[Mapping[str, tuple[tuple[str, ...], int]]] = {
    "vocab_size": (("token_embedding.weight",), 0),
    "hidden_size": (("token_embedding.weight",), 1),
    "max_position_embeddings": (("position_embedding.weight", "positional_embedding"), 0),
    "intermediate_size": (("mlp.fc1.weight", "mlp.c_fc.weight"), 0),
}
"""Key of a configuration -> ends of the name of a tensor that has the number, and its place."""


@dataclass(frozen=True, kw_only=True)
class ChosenTextEncoder:
    """A text encoder in a folder or a file. `tokenizer` is the folder of its own, if it has one."""

    path: Path
    config_file: Path
    config: Mapping[str, Any]
    weights: WeightFiles
    tokenizer: Path | None = None


def select_text_encoder(spec: PipelineSpec, model_folder: Path) -> ChosenTextEncoder | None:
    """Return the text encoder that the spec names, None for the model's own.

    Raises ModelError if it does not fit the model, and the errors of `fetch_model`.
    """
    path = fetch_text_encoder(spec)
    if path is None:
        return None
    own_file = model_folder / COMPONENT / "config.json"
    own = read_config(own_file, COMPONENT)
    if path.is_file():
        chosen = _read_file(path, own_file)
    else:
        chosen = _read_folder(path, spec.variant, _find_tokenizer(path))
    _check_fit(chosen, own, spec)
    return chosen


def find_component_weights(
    spec: PipelineSpec, folder: Path, names: Iterable[str], chosen: ChosenTextEncoder | None
) -> dict[str, WeightFiles]:
    """Return the weights of `chosen`, and those of the model's other components of `names`.

    Raises the errors of `find_model_weights`.
    """
    files = {COMPONENT: chosen.weights} if chosen else {}
    return files | {n: find_model_weights(spec, folder, n) for n in names if n not in files}


@cache_by_files
def _read_folder(path: Path, variant: str | None, tokenizer: Path | None) -> ChosenTextEncoder:
    config_file = path / "config.json"
    config = read_config(config_file, COMPONENT)
    if (kind := config.get("model_type")) not in _MODEL_TYPES:
        raise _wrong_kind_error(path, f"is a {kind}, not a CLIP text encoder")
    files = find_weights(path, COMPONENT, variant)
    if files.tensors is None:
        part = _find_part(files.path, read_header(files.path))
        files = replace(files, sources=map_component(COMPONENT, config, part, files.path))
    return ChosenTextEncoder(
        path=path,
        config_file=config_file,
        config=config,
        weights=files,
        tokenizer=tokenizer,
    )


@cache_by_files
def _read_file(path: Path, own_file: Path) -> ChosenTextEncoder:
    """Read a file, whose tensors tell all but the number of heads and the activation."""
    own, header = read_config(own_file, COMPONENT), read_header(path)
    part = _find_part(path, header)
    config = {**own, **_measure(path, part, header)}
    if part.layout == "original":
        # OpenCLIP's own activation. Stable Diffusion 2 leaves the last layers out.
        layers = int(own.get("num_hidden_layers", 12))
        config |= {
            "hidden_act": "gelu",
            "num_hidden_layers": min(layers, config["num_hidden_layers"]),
        }
    weights = WeightFiles(
        path=path, files=(path,), sources=map_component(COMPONENT, config, part, path)
    )
    check_weights(COMPONENT, weights)
    return ChosenTextEncoder(path=path, config_file=own_file, config=config, weights=weights)


def _find_part(path: Path, header: SafetensorsHeader) -> Part:
    parts, _ = sort_parts(header.tensors)
    if COMPONENT in parts:
        return parts[COMPONENT]
    other = detect(header).other
    raise _wrong_kind_error(
        path, f"is {other.name}, not a text encoder" if other else "has no CLIP text encoder"
    )


def _measure(path: Path, part: Part, header: SafetensorsHeader) -> dict[str, int]:
    shapes = {name: tensor.shape for name, tensor in header.tensors.items()}
    sizes = {}
    for key, (ends, place) in _SIZES.items():
        found = (shapes[name] for name in part.names if name.endswith(ends))
        shape = next(found, ())
        if len(shape) <= place:
            raise _wrong_kind_error(path, f"has no {ends[0]} of a CLIP text encoder")
        sizes[key] = shape[place]
    layers = [int(match[1]) for name in part.names if (match := _LAYER.search(name))]
    return {**sizes, "num_hidden_layers": 1 + max(layers, default=0)}


def _find_tokenizer(path: Path) -> Path | None:
    for folder in (path, path.with_name("tokenizer")):
        if (folder / "tokenizer.json").is_file() or (folder / "vocab.json").is_file():
            return folder
    return None


def _check_fit(chosen: ChosenTextEncoder, own: Mapping[str, Any], spec: PipelineSpec) -> None:
    width, own_width = (config.get("hidden_size", 512) for config in (chosen.config, own))
    if width != own_width:
        raise ModelError(
            f"text_encoder: {chosen.path} makes embeddings {width} wide, but the text encoder of "
            f"{spec.model} makes {own_width}",
            code="model.incompatible",
            hint=f"use a CLIP or OpenCLIP text encoder of width {own_width}",
        )
    tokens, own_tokens = (config.get("vocab_size", 49408) for config in (chosen.config, own))
    if chosen.tokenizer is None and tokens < own_tokens:
        raise ModelError(
            f"text_encoder: {chosen.path} knows {tokens} tokens, but the tokenizer of {spec.model} "
            f"has {own_tokens}",
            code="model.incompatible",
            hint="use its folder, with the files of its tokenizer",
        )


def _wrong_kind_error(path: Path, problem: str) -> ModelError:
    return ModelError(
        f"text_encoder: {path} {problem}",
        code="model.wrong_kind",
        hint="use a folder, Hugging Face id or .safetensors file of a CLIP or OpenCLIP model",
    )
