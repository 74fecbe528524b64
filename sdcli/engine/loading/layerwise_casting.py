"""Store the weights of a UNet in 8 bits, and convert each layer's when it runs."""

from __future__ import annotations

from typing import Any

import torch

STORAGE = {"fp8": torch.float8_e4m3fn}
"""The values of `--weights-dtype`."""


def store_weights(unet: Any, name: str | None, dtype: torch.dtype) -> None:
    """Convert the weights of a UNet that computes in `dtype` to the named type, None for none.

    Those of normalizations, and the first and the last layer, stay as they are.
    """
    if name is not None:
        unet.enable_layerwise_casting(storage_dtype=STORAGE[name], compute_dtype=dtype)
