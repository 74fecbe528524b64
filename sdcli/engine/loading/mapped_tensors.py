"""Read the tensors of one component from a file that holds a whole model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from accelerate import init_empty_weights
from safetensors import safe_open
from transformers.initialization import no_init_weights

from sdcli.checkpoints.single_file.text_names import PREFIX
from sdcli.checkpoints.weight_files import TensorSource, WeightFiles
from sdcli.errors import CorruptError

_MAPPED_BYTES: Final = 256 << 20
"""How much of a file is mapped at a time while its tensors are converted."""


def build_empty(cls: Any, config: Mapping[str, Any]) -> Any:
    """Build a model of Diffusers, or a CLIP model of Transformers, without memory for weights."""
    # Buffers are computed by the constructor, and no file has them.
    with init_empty_weights(include_buffers=False):
        if hasattr(cls, "from_config"):
            return cls.from_config(dict(config))
        # Drawing random numbers for weights that do not exist takes 0.15 s.
        with no_init_weights():
            return cls(cls.config_class.from_dict(dict(config)))


def read_tensors(
    component: str, files: WeightFiles, expected: Mapping[str, torch.Tensor], dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    """Return the tensors that a model expects, as far as the file has them.

    Only tensors of another type than `dtype` take memory of their own; the others are the pages of
    the file, which are read when they are used. Raises CorruptError for another shape.
    """
    tensors: dict[str, torch.Tensor] = {}
    for group in _group(expected):
        # Closing the file gives the pages back that no tensor keeps.
        with safe_open(files.path, framework="pt") as file:
            for name in group:
                source = find_source(files, name)
                if source is None:
                    continue
                tensor = _change(file.get_tensor(source.name), source)
                if tensor.shape != expected[name].shape:
                    raise _shape_error(component, files, source, tensor, expected[name])
                tensors[name] = tensor.to(dtype)
    return tensors


def find_source(files: WeightFiles, name: str) -> TensorSource | None:
    """Return the origin in a single file of the tensor that a model calls `name`."""
    sources = files.sources or {}
    return sources.get(name) or sources.get(_other_name(name))


def find_stored(files: WeightFiles, name: str) -> tuple[Path, str]:
    """Return the file of the tensor that a model calls `name`, and its name there."""
    if source := find_source(files, name):
        return files.path, source.name
    if files.tensors is None:
        with safe_open(files.path, framework="pt") as file:
            known = dict.fromkeys(file.keys(), files.path.name)
    else:
        known = dict(files.tensors)
    stored = next((n for n in (name, _other_name(name)) if n in known), None)
    return (files.path, name) if stored is None else (files.path.parent / known[stored], stored)


def _other_name(name: str) -> str:
    # Text encoders have other names in other versions of Transformers.
    return name.removeprefix(PREFIX) if name.startswith(PREFIX) else PREFIX + name


def _group(expected: Mapping[str, torch.Tensor]) -> Iterator[list[str]]:
    group: list[str] = []
    size = 0
    for name, tensor in expected.items():
        group.append(name)
        size += tensor.nbytes
        if size > _MAPPED_BYTES:
            yield group
            group, size = [], 0
    yield group


def _change(tensor: torch.Tensor, source: TensorSource) -> torch.Tensor:
    if source.transform == "transpose":
        return tensor.T.contiguous()
    if source.third is not None:
        return tensor.chunk(3)[source.third].contiguous()
    if source.transform == "matrix":
        return tensor.reshape(source.shape(tuple(tensor.shape)))
    return tensor


def _shape_error(
    component: str,
    files: WeightFiles,
    source: TensorSource,
    tensor: torch.Tensor,
    expected: torch.Tensor,
) -> CorruptError:
    return CorruptError(
        f"{component}: {files.path}: {source.name} has the shape {tuple(tensor.shape)}, but the "
        f"model needs {tuple(expected.shape)}",
        code="model.corrupt",
        hint="download the file again, or give a --model-config that fits it",
    )
