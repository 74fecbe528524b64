"""Name the formats of floating-point numbers that files of tensors have."""

from __future__ import annotations

from typing import Final

FLOATS: Final = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
"""safetensors' name -> numpy's; bfloat16, which numpy lacks, is two bytes there."""
