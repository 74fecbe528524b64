"""Small IP-Adapters of random weights for a UNet, their files, and small image encoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file

PROJECTED, HIDDEN, SIDE = 24, 64, 28
"""Widths of the encoder's image embeddings and of its layers, and the size that it reads."""

VARIANTS: Final = ("plain", "plus", "full")

StateDict = dict[str, dict[str, torch.Tensor]]


def make_image_encoder(folder: Path, seed: int = 0, **changes: Any) -> Path:
    """Write a CLIP image encoder of 4 patches."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(seed)
    sizes = {
        "hidden_size": HIDDEN, "intermediate_size": 48, "projection_dim": PROJECTED,
        "num_hidden_layers": 3, "num_attention_heads": 4, "image_size": SIDE, "patch_size": 14,
    }  # fmt: skip
    encoder = CLIPVisionModelWithProjection(CLIPVisionConfig(**{**sizes, **changes}))
    encoder.save_pretrained(folder)
    return folder


def make_ip_adapter(unet: Any, variant: str = "plain", seed: int = 0) -> StateDict:
    """Make the nested tensors of an IP-Adapter whose effect is easy to see."""
    torch.manual_seed(seed)
    width = unet.config.cross_attention_dim
    layers = {}
    names = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
    modules = dict(unet.named_modules())
    for index, name in enumerate(names):
        rows = modules[name.removesuffix(".processor")].to_k.weight.shape[0]
        for part in ("to_k_ip", "to_v_ip"):
            layers[f"{2 * index + 1}.{part}.weight"] = torch.randn(rows, width) * 0.2
    return {"image_proj": _IMAGE_PARTS[variant](width), "ip_adapter": layers}


def _plain(width: int) -> dict[str, torch.Tensor]:
    return {
        "proj.weight": torch.randn(4 * width, PROJECTED),
        "proj.bias": torch.randn(4 * width),
        "norm.weight": torch.ones(width),
        "norm.bias": torch.zeros(width),
    }


def _full(width: int) -> dict[str, torch.Tensor]:
    return {
        "proj.0.weight": torch.randn(HIDDEN, HIDDEN) * 0.2,
        "proj.0.bias": torch.randn(HIDDEN),
        "proj.2.weight": torch.randn(width, HIDDEN) * 0.2,
        "proj.2.bias": torch.randn(width),
        "proj.3.weight": torch.ones(width),
        "proj.3.bias": torch.zeros(width),
    }


def _plus(width: int) -> dict[str, torch.Tensor]:
    """The names of the original code, with two layers of one head of 64."""
    inner, wide = 64, 4 * 64
    part = {
        "latents": torch.randn(1, 5, inner),
        "proj_in.weight": torch.randn(inner, HIDDEN) * 0.2,
        "proj_in.bias": torch.randn(inner),
        "proj_out.weight": torch.randn(width, inner) * 0.2,
        "proj_out.bias": torch.randn(width),
        "norm_out.weight": torch.ones(width),
        "norm_out.bias": torch.zeros(width),
    }
    for layer in range(4):
        for norm in ("0.norm1", "0.norm2", "1.0"):
            part[f"layers.{layer}.{norm}.weight"] = torch.ones(inner)
            part[f"layers.{layer}.{norm}.bias"] = torch.zeros(inner)
        for name, shape in (
            ("0.to_q", (inner, inner)), ("0.to_kv", (2 * inner, inner)),
            ("0.to_out", (inner, inner)), ("1.1", (wide, inner)), ("1.3", (inner, wide)),
        ):  # fmt: skip
            part[f"layers.{layer}.{name}.weight"] = torch.randn(shape) * 0.2
    return part


_IMAGE_PARTS: Final = {"plain": _plain, "plus": _plus, "full": _full}


def write_ip_adapter(state: StateDict, path: Path) -> Path:
    """Write an IP-Adapter as .safetensors with joined names, or as a nested pickle."""
    if path.suffix == ".safetensors":
        flat = {f"{part}.{name}": t for part, own in state.items() for name, t in own.items()}
        save_file(flat, path)
    else:
        torch.save(state, path)
    return path
