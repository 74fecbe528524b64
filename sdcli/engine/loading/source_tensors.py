"""Turn the tensors of a file of weights, safetensors or pickled, into those of torch."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from sdcli.checkpoints.weight_source import SourceTensor

_DTYPES: Final = {
    "F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64,
}  # fmt: skip


def to_torch(tensor: SourceTensor) -> Tensor:
    """Read a tensor of floating-point numbers. Raises CorruptError for a file that is cut off."""
    data = bytearray(b"".join(tensor.chunks()))
    return torch.frombuffer(data, dtype=_DTYPES[tensor.dtype]).reshape(tensor.shape)
