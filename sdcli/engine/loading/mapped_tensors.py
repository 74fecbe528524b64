"""Read the tensors of one component from a file that holds a whole model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from accelerate import init_empty_weights
from safetensors import safe_open
from transformers import CLIPTextConfig

from sdcli.checkpoints.single_file.text_names import PREFIX
from sdcli.checkpoints.weight_files import TensorSource, WeightFiles
from sdcli.errors import CorruptError


def build_empty(cls: Any, config: Mapping[str, Any]) -> Any:
    """Build a model of Diffusers, or a text encoder of Transformers, without memory for weights."""
    # Buffers are computed by the constructor, and no file has them.
    with init_empty_weights(include_buffers=False):
        if hasattr(cls, "from_config"):
            return cls.from_config(dict(config))
        return cls(CLIPTextConfig.from_dict(dict(config)))


def read_tensors(
    component: str, files: WeightFiles, expected: Mapping[str, torch.Tensor], dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    """Return the tensors that a model expects, as far as the file has them.

    Only tensors of another type than `dtype` take memory of their own; the others are the pages of
    the file. Raises CorruptError for another shape and for values that are not finite.
    """
    sources = files.sources or {}
    tensors: dict[str, torch.Tensor] = {}
    with safe_open(files.path, framework="pt") as file:
        for name, value in expected.items():
            source = sources.get(name) or sources.get(_other_spelling(name))
            if source is None:
                continue
            tensor = _change(file.get_tensor(source.name), source)
            if tensor.shape != value.shape:
                raise _tensor_error(component, files, source, _shape_problem(tensor, value))
            tensors[name] = tensor.to(dtype)
            if not _is_finite(tensors[name]):
                problem = _finite_problem(tensor, dtype)
                raise _tensor_error(component, files, source, problem)
    return tensors


def _other_spelling(name: str) -> str:
    """Return the name of a text encoder's tensor in other versions of Transformers."""
    return name.removeprefix(PREFIX) if name.startswith(PREFIX) else PREFIX + name


def _change(tensor: torch.Tensor, source: TensorSource) -> torch.Tensor:
    if source.transform == "transpose":
        return tensor.T.contiguous()
    if source.third is not None:
        return tensor.chunk(3)[source.third].contiguous()
    if source.transform == "matrix":
        return tensor.reshape(source.shape(tuple(tensor.shape)))
    return tensor


def _is_finite(tensor: torch.Tensor) -> bool:
    # Unlike isfinite(), it needs no memory; a NaN anywhere makes both of its results NaN.
    return not tensor.numel() or all(math.isfinite(v.item()) for v in torch.aminmax(tensor))


def _shape_problem(tensor: torch.Tensor, expected: torch.Tensor) -> str:
    return f"has the shape {tuple(tensor.shape)}, but the model needs {tuple(expected.shape)}"


def _finite_problem(tensor: torch.Tensor, dtype: torch.dtype) -> str:
    if tensor.dtype.itemsize > 1 and _is_finite(tensor):
        return f"has values that are too large for {str(dtype).removeprefix('torch.')}"
    return "has NaN or infinite values"


def _tensor_error(
    component: str, files: WeightFiles, source: TensorSource, problem: str
) -> CorruptError:
    return CorruptError(
        f"{component}: {files.path}: {source.name} {problem}",
        code="model.corrupt",
        hint="download the file again, or use another one"
        if "values" in problem
        else "--model-config FOLDER gives the configuration of a model of another size",
    )
