"""Find weights that are not numbers, after a result was none.

Reading all weights takes as long as loading them, so that is left until there is a reason.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from sdcli.checkpoints.weight_files import WeightFiles
from sdcli.engine.loading.mapped_tensors import find_stored
from sdcli.errors import CorruptError


def defective_weights_error(
    models: Mapping[str, Any], files: Mapping[str, WeightFiles]
) -> CorruptError | None:
    """Return the error of the first tensor with NaN or infinite values, None without one.

    Both arguments have the components by name.
    """
    for component, model in models.items():
        for name, tensor in model.named_parameters():
            if not _is_finite(tensor):
                return _tensor_error(component, files[component], name, tensor.dtype)
    return None


def _is_finite(tensor: torch.Tensor) -> bool:
    # Unlike isfinite(), it needs no memory; a NaN anywhere makes both of its results NaN.
    # Eight bits have a NaN, but no operation to find it.
    numbers = tensor.detach().float() if tensor.itemsize == 1 else tensor.detach()
    return not tensor.numel() or all(
        math.isfinite(value.item()) for value in torch.aminmax(numbers)
    )


def _tensor_error(
    component: str, files: WeightFiles, name: str, dtype: torch.dtype
) -> CorruptError:
    problem, hint = "has NaN or infinite values", "download the file again, or use another one"
    path, stored_name = find_stored(files, name)
    if _overflows(path, stored_name, dtype):
        problem = f"has values that are too large for {str(dtype).removeprefix('torch.')}"
        hint = "try --dtype float32"
    code = "model.defective_vae" if component == "vae" else "model.defective"
    return CorruptError(f"{component}: {path}: {stored_name} {problem}", code=code, hint=hint)


def _overflows(path: Path, name: str, dtype: torch.dtype) -> bool:
    """Return whether the file has numbers that are infinite in `dtype`."""
    with safe_open(path, framework="pt") as file:
        # Libraries rename some tensors of old files.
        if name not in file.keys():  # noqa: SIM118
            return False
        tensor: torch.Tensor = file.get_tensor(name)
    return _is_finite(tensor) and not _is_finite(tensor.to(dtype))
