"""Split the names of a LoRA's tensors into the layer that they change and their part in it.

Covers the names of kohya's sd-scripts, A1111, Diffusers, PEFT and LyCORIS.
"""

from __future__ import annotations

import re
from typing import Final

_ROLES: Final = (
    ("down", r"[._]lora[._]down(\.default)?\.weight|\.lora_A(\.\w+)?\.weight"
             r"|\.lora_linear_layer\.down\.weight"),
    ("up", r"[._]lora[._]up(\.default)?\.weight|\.lora_B(\.\w+)?\.weight"
           r"|\.lora_linear_layer\.up\.weight"),
    ("mid", r"\.lora_mid\.weight"),
    ("alpha", r"\.alpha"),
    ("magnitude", r"\.dora_scale|\.lora_magnitude_vector(\.\w+)?(\.weight)?"),
    ("loha", r"\.(hada_(?:w[12]_[ab]|t[12]))"),
    ("lokr", r"\.(lokr_(?:w[12](?:_[ab])?|t2))"),
    ("on_input", r"\.on_input"),
    ("ia3", r"\.weight"),
    ("diff", r"\.diff"),
    ("diff_b", r"\.diff_b"),
    ("diff", r"\.w_norm"),
    ("diff_b", r"\.b_norm"),
)  # fmt: skip
"""The part of a tensor, and the end of a name that has it. Only (IA)³ has plain weights."""

_PATTERNS: Final = tuple((role, re.compile(f"(?P<layer>.+?)(?:{end})")) for role, end in _ROLES)

_PREFIXES: Final = (
    (r"lora_te1_|lora_te_|lycoris_te1_|lycoris_te_|text_encoder[._]", "text_encoder"),
    (r"lora_te2_|lycoris_te2_|text_encoder_2[._]", "text_encoder_2"),
    (r"lora_unet_|lycoris_unet_|unet[._]|model\.diffusion_model\.|diffusion_model\.", "unet"),
)  # fmt: skip
_COMPONENTS: Final = tuple((re.compile(pattern), name) for pattern, name in _PREFIXES)
_WRAPPER: Final = re.compile(r"base_model\.model\.|lycoris_(?!unet_|te\d?_)")
_TEXT_LAYER: Final = re.compile(r"(text_model[._])?encoder[._]layers[._]\d|text_model[._]")


def split_key(key: str) -> tuple[str, str] | None:
    """Return the layer that a tensor belongs to as the file writes it, and its part there.

    Returns None for a name of no known kind.
    """
    for role, pattern in _PATTERNS:
        if match := pattern.fullmatch(key):
            # LoHa and LoKr have several factors, whose names are their parts.
            return match["layer"], match.groups()[-1] if role in ("loha", "lokr") else role
    return None


def split_layer(layer: str) -> tuple[str, str]:
    """Return the component that a layer belongs to, and its name there, joined by underscores."""
    name = _WRAPPER.sub("", layer, count=1) if _WRAPPER.match(layer) else layer
    # The longest prefix: text_encoder_2 begins as text_encoder does.
    found = [(m.end(), c) for pattern, c in _COMPONENTS if (m := pattern.match(name))]
    length, component = max(found, default=(0, ""))
    # Without a prefix, PEFT's own files name the layers of one component only.
    component = component or ("text_encoder" if _TEXT_LAYER.match(name) else "unet")
    flat = name[length:].replace(".", "_")
    return component, _without_processor(component, flat)


def _without_processor(component: str, flat: str) -> str:
    """Translate the names of attention processors, as Diffusers wrote them until 0.20."""
    if component == "unet":
        flat = re.sub(r"_processor_(to_[qkv]|to_out)$", r"_\1", flat)
        return re.sub(r"_to_out$", "_to_out_0", flat)
    flat = re.sub(r"_self_attn_to_([qkv])$", r"_self_attn_\1_proj", flat)
    return re.sub(r"_self_attn_to_out$", "_self_attn_out_proj", flat).removeprefix("text_model_")
