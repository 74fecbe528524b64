"""Name the files that are not models: add-ons, parts of models, models of other families."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sdcli.checkpoints.weight_dtypes import QUANTIZATION

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class OtherKind:
    """A kind of file, for messages with its article, and pieces of names that only it has."""

    id: str
    name: str
    pieces: tuple[str, ...]
    needs_all: bool = False


_OPTIONS: Final[Mapping[str, str]] = {
    "lora": "--lora",
    "controlnet": "--controlnet",
    "ip-adapter": "--ip-adapter",
    "model": "--model",
    "vae": "--vae",
    "text_encoder": "--text-encoder",
}
"""The option that takes a file of each kind."""

_KINDS: Final = (
    OtherKind("ip-adapter", "an IP-Adapter", ("image_proj.", "ip_adapter."), needs_all=True),
    OtherKind(
        "lora",
        "a LoRA",
        ("lora_down", "lora_up", "lora_A", "lora_B", "lora.down", "lora.up", "lora_linear_layer",
         "hada_w1_", "lokr_w", "lora_unet_", "lora_te_", "lora_te1_"),
    ),
    OtherKind(
        "controlnet",
        "a ControlNet",
        ("control_model.", "zero_convs.", "input_hint_block.", "controlnet_cond_embedding.",
         "controlnet_down_blocks."),
    ),
    OtherKind("t2i-adapter", "a T2I-Adapter", ("adapter.body.", "body.0.block1.weight")),
    OtherKind("other", "a Stable Diffusion 3 model", ("joint_blocks.",)),
    OtherKind("other", "a FLUX model", ("double_blocks.", "single_transformer_blocks.")),
    OtherKind("other", "a diffusion transformer", ("adaln_single.", "adaLN_modulation",
                                                   "transformer_blocks.0.norm1.linear.")),
    OtherKind("embedding", "a textual inversion embedding", ("emb_params", "string_to_param")),
    OtherKind("embedding", "an SDXL embedding", ("clip_l", "clip_g"), needs_all=True),
    OtherKind("upscaler", "an image upscaler", ("RRDB_trunk.", "body.0.rdb1.", "conv_first.",
                                                "model.1.sub.0.RDB1.")),
    OtherKind("quantized", "a file of quantized weights", QUANTIZATION),
    OtherKind("approximate-vae", "a small VAE (TAESD)", ("decoder.layers.", "taesd_decoder.")),
)  # fmt: skip

_EMBEDDING: Final = OtherKind("embedding", "a textual inversion embedding", ())
_EMBEDDING_WIDTHS: Final = frozenset({768, 1024, 1280})
_MAX_VECTORS: Final = 128


def find_other_kind(shapes: Shapes) -> tuple[OtherKind, str] | None:
    """Return the kind of a file that is not a whole model, and a name in it that shows this."""
    for kind in _KINDS:
        examples = [next((n for n in shapes if piece in n), None) for piece in kind.pieces]
        if all(examples) if kind.needs_all else any(examples):
            return kind, next(name for name in examples if name)
    if _is_embedding(shapes):
        return _EMBEDDING, next(iter(shapes))
    return None


def option_hint(kind: str) -> str | None:
    """Return the hint for a file of this kind in the place of another, None if nothing takes it."""
    option = _OPTIONS.get(kind)
    return f"use it with {option}" if option else None


def _is_embedding(shapes: Shapes) -> bool:
    """Whether the file has nothing but a few rows as wide as a text encoder."""
    if len(shapes) != 1:
        return False
    [(name, shape)] = shapes.items()
    if len(shape) not in (1, 2) or (len(shape) == 2 and shape[0] > _MAX_VECTORS):
        return False
    # Diffusers names the only tensor after the word that was trained.
    return shape[-1] in _EMBEDDING_WIDTHS or (name.startswith("<") and name.endswith(">"))
