"""Small T2I-Adapters of random weights for the embedded model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


def make_adapter(seed: int = 0, **changes: Any) -> Any:
    """Make a T2I-Adapter whose outputs the embedded model's UNet takes."""
    from diffusers import T2IAdapter

    torch.manual_seed(seed)
    options = {"channels": [64, 128, 96], "num_res_blocks": 1, "downscale_factor": 16}
    return T2IAdapter(**{**options, "adapter_type": "full_adapter_xl", **changes}).eval()


def write_adapter(path: Path, seed: int = 0, **changes: Any) -> Path:
    """Write one as a folder of Diffusers."""
    make_adapter(seed, **changes).save_pretrained(path)
    return path
