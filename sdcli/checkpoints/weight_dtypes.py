"""Refuse weights that are not floating-point numbers.

Quantized files hold whole numbers and the factors that belong to them in tensors of their own.
Read without these, they draw noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sdcli.checkpoints.safetensors_header import TensorInfo
from sdcli.errors import ModelError

_FLOATS: Final = ("F16", "BF16", "F32", "F64", "F8_E4M3", "F8_E4M3FNUZ", "F8_E5M2", "F8_E5M2FNUZ")

# Positions of tokens are counted, in files of older versions of Transformers.
_WHOLE_NUMBERS: Final = "position_ids"

QUANTIZATION: Final = (".weight_scale", ".scale_weight", "scaled_fp8", ".absmax", ".quant_state.",
                       ".SCB", ".qzeros")  # fmt: skip
"""Pieces of names that only the tensors of quantized weights have."""


def check_dtypes(component: str, path: Path, tensors: Mapping[str, TensorInfo]) -> None:
    """Raise ModelError for a tensor of a component that does not hold floating-point numbers."""
    for name, tensor in tensors.items():
        if tensor.dtype not in _FLOATS and not name.endswith(_WHOLE_NUMBERS):
            raise ModelError(
                f"{component}: {path}: {name} holds {tensor.dtype}, not floating-point numbers",
                code="model.quantized",
                hint="sdcli reads no quantized weights: use the file in float16 or float32",
            )
