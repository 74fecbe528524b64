"""Sort the tensors of a single file by the part of the model that they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

Layout = Literal["original", "diffusers"]
"""The names of tensors: those of the original code (LDM, SGM, OpenCLIP), or those of Diffusers."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """The tensors of one part: their names in the file, all of which begin with `prefix`."""

    prefix: str
    layout: Layout
    names: tuple[str, ...]


@dataclass(frozen=True)
class _Prefix:
    text: str
    part: str
    layout: Layout = "original"


# The refiner's only text encoder is the second one of the base model.
_PREFIXES: Final = (
    _Prefix("model.diffusion_model.", "unet"),
    _Prefix("first_stage_model.", "vae"),
    _Prefix("vae.", "vae"),
    _Prefix("cond_stage_model.transformer.", "text_encoder", "diffusers"),
    _Prefix("cond_stage_model.model.", "text_encoder"),
    _Prefix("conditioner.embedders.0.transformer.", "text_encoder", "diffusers"),
    _Prefix("conditioner.embedders.1.model.", "text_encoder_2"),
    _Prefix("conditioner.embedders.0.model.", "text_encoder_2"),
    _Prefix("model_ema.", "ema"),
)

_BARE: Final[Mapping[str, tuple[str, Layout, tuple[str, ...]]]] = {
    "input_blocks.0.0.weight": (
        "unet",
        "original",
        ("input_blocks.", "middle_block.", "output_blocks.", "time_embed.", "label_emb.", "out."),
    ),
    "down_blocks.0.resnets.0.conv1.weight": (
        "unet",
        "diffusers",
        ("down_blocks.", "mid_block.", "up_blocks.", "time_embedding.", "add_embedding.",
         "class_embedding.", "conv_"),
    ),
    "encoder.conv_in.weight": (
        "vae", "original", ("encoder.", "decoder.", "quant_conv.", "post_quant_conv."),
    ),
    "text_model.embeddings.token_embedding.weight": (
        "text_encoder", "diffusers", ("text_model.", "text_projection."),
    ),
    "embeddings.token_embedding.weight": (
        "text_encoder", "diffusers", ("embeddings.", "encoder.layers.", "final_layer_norm."),
    ),
    "token_embedding.weight": (
        "text_encoder", "original",
        ("token_embedding.", "positional_embedding", "transformer.resblocks.", "ln_final.",
         "text_projection", "logit_scale", "attn_mask"),
    ),
}  # fmt: skip
"""Tensor of a file that holds one part without a prefix -> part, layout, beginnings of its names.
"""

# "encoder.mid_block." and "encoder.down_blocks." belong to Diffusers' VAE only.
_DIFFUSERS_VAE: Final = ".mid_block."

SCHEDULE_BUFFERS: Final = frozenset(
    {
        "betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod",
        "sqrt_one_minus_alphas_cumprod", "log_one_minus_alphas_cumprod",
        "sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod", "posterior_variance",
        "posterior_log_variance_clipped", "posterior_mean_coef1", "posterior_mean_coef2",
        "logvar", "scale_factor", "denoiser.sigmas", "denoiser.log_sigmas", "global_step",
    }
)  # fmt: skip
"""Tensors of training and sampling code that hold no weights."""

MARKERS: Final = frozenset({"v_pred", "ztsnr"})
"""Empty tensors that tell how a model was trained."""


def sort_parts(names: Iterable[str]) -> tuple[dict[str, Part], tuple[str, ...]]:
    """Return the parts of a file by name, and the tensors that belong to none of them.

    Parts are "unet", "vae", "text_encoder", "text_encoder_2" and "ema", an average of the UNet's
    weights during the training.
    """
    rest = dict.fromkeys(names)
    parts: dict[str, Part] = {}
    for prefix in _PREFIXES:
        found = [name for name in rest if name.startswith(prefix.text)]
        if found and prefix.part not in parts:
            parts[prefix.part] = _part(prefix.text, prefix.layout, found)
            rest = {name: None for name in rest if not name.startswith(prefix.text)}
    for anchor, (part, layout, beginnings) in _BARE.items():
        if anchor in rest and part not in parts:
            found = [name for name in rest if name.startswith(beginnings)]
            parts[part] = _part("", layout, found)
            rest = {name: None for name in rest if not name.startswith(beginnings)}
    return parts, tuple(name for name in rest if name not in SCHEDULE_BUFFERS | MARKERS)


def _part(prefix: str, layout: Layout, names: list[str]) -> Part:
    if any(_DIFFUSERS_VAE in name for name in names):
        layout = "diffusers"
    return Part(prefix=prefix, layout=layout, names=tuple(names))
