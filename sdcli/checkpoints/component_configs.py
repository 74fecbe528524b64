"""Read the configurations of components, with the types and ranges of their values checked.

Diffusers and Transformers take most values as they come, and fail later, elsewhere, or not at all
before the memory is full. The tables have the keys that sdcli itself reads, those that decide how
much is built, and those that name other files or code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sdcli.checkpoints.json_files import read_json, shorten
from sdcli.checkpoints.weight_files import CLIP_MODEL
from sdcli.errors import CorruptError, ModelError

DEFAULTS_FILE: Final = "sdcli.json"
"""File of a model folder with defaults for sdcli, which override those of Diffusers; it is read as
the component of that name."""

_MAX_NUMBER: Final = 10**9
"""Largest size of anything in a configuration."""


@dataclass(frozen=True)
class _Rule:
    """A test of a value, and the end of the sentence "it must be ..."."""

    accepts: Callable[[Any], bool]
    text: str


def _whole(low: int, high: int) -> _Rule:
    text = f"a whole number, {low} to {high}" if high > low + 1 else f"{low} or {high}"
    # type(), not isinstance(): JSON's true would pass for an int.
    return _Rule(lambda v: type(v) is int and low <= v <= high, text)


def _number(low: float, high: float) -> _Rule:
    return _Rule(
        lambda v: type(v) in (int, float) and low <= v <= high, f"a number, {low:g} to {high:g}"
    )


def _nullable(rule: _Rule) -> _Rule:
    return _Rule(lambda v: v is None or rule.accepts(v), f"{rule.text}, or null")


def _list_of(rule: _Rule, most: int, least: int = 1) -> _Rule:
    return _Rule(
        lambda v: isinstance(v, list) and least <= len(v) <= most and all(map(rule.accepts, v)),
        f"a list of {least if least == most else f'{least} to {most}'} values, each {rule.text}",
    )


def _either(first: _Rule, second: _Rule) -> _Rule:
    return _Rule(lambda v: first.accepts(v) or second.accepts(v), f"{first.text}, or {second.text}")


def _entries(rules: Mapping[str, _Rule]) -> _Rule:
    return _Rule(
        lambda v: isinstance(v, dict) and all(rules[k].accepts(v[k]) for k in rules if k in v),
        "the settings of an encoder",
    )


def _word(first: str, *others: str) -> _Rule:
    words = (first, *others)
    return _Rule(lambda v: v in words, f"{', '.join(words[:-1])} or {words[-1]}")


_TEXT: Final = _Rule(lambda v: isinstance(v, str) and len(v) < 200, "text")
_FLAG: Final = _Rule(lambda v: isinstance(v, bool), "true or false")
_WIDTH: Final = _whole(1, 1 << 16)
_CHANNELS: Final = _whole(1, 1 << 10)
_LAYERS: Final = _whole(1, 256)
_LEVELS: Final = 16
_WIDTHS: Final = _list_of(_WIDTH, _LEVELS)
_BLOCKS: Final = _list_of(_TEXT, _LEVELS)
_SIDE: Final = _whole(1, 1 << 12)
_PER_LEVEL: Final = _either(_WIDTH, _WIDTHS)
_LAYERS_PER_LEVEL: Final = _either(_LAYERS, _list_of(_either(_LAYERS, _list_of(_LAYERS, 64)), 16))

_VAE: Final = {
    "in_channels": _CHANNELS,
    "out_channels": _CHANNELS,
    "latent_channels": _CHANNELS,
    "block_out_channels": _WIDTHS,
    "encoder_block_out_channels": _WIDTHS,
    "decoder_block_out_channels": _WIDTHS,
    "down_block_types": _BLOCKS,
    "up_block_types": _BLOCKS,
    "layers_per_block": _LAYERS,
    "num_encoder_blocks": _list_of(_LAYERS, _LEVELS),
    "num_decoder_blocks": _list_of(_LAYERS, _LEVELS),
    "norm_num_groups": _WIDTH,
    "force_upcast": _nullable(_FLAG),
    "scaling_factor": _nullable(_number(1e-6, 1e6)),
    "latents_mean": _nullable(_list_of(_number(-1e6, 1e6), 1 << 10)),
    "latents_std": _nullable(_list_of(_number(1e-6, 1e6), 1 << 10)),
    "shift_factor": _nullable(_number(-1e6, 1e6)),
    "act_fn": _TEXT,
}
_SCHEDULER: Final = {
    "_class_name": _TEXT,
    "beta_start": _number(0, 1),
    "beta_end": _number(0, 1),
    "num_train_timesteps": _whole(1, 100_000),
    # Some classes know fewer of them, and say so themselves.
    "prediction_type": _word("epsilon", "v_prediction", "sample", "flow_prediction"),
    "beta_schedule": _word(
        *("linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "laplace", "exp")
    ),
    "timestep_spacing": _word("leading", "linspace", "trailing"),
    "solver_order": _whole(1, 100),
    "original_inference_steps": _nullable(_whole(1, 100_000)),
    "trained_betas": _nullable(_list_of(_number(0, 1), 100_000)),
}
_UNET: Final = {
    "_diffusers_version": _TEXT,
    "sample_size": _nullable(_either(_SIDE, _list_of(_SIDE, 2, least=2))),
    "in_channels": _CHANNELS,
    "out_channels": _CHANNELS,
    "block_out_channels": _WIDTHS,
    "down_block_types": _BLOCKS,
    "up_block_types": _BLOCKS,
    "layers_per_block": _LAYERS_PER_LEVEL,
    "transformer_layers_per_block": _LAYERS_PER_LEVEL,
    "reverse_transformer_layers_per_block": _nullable(_LAYERS_PER_LEVEL),
    "cross_attention_dim": _nullable(_PER_LEVEL),
    "attention_head_dim": _nullable(_PER_LEVEL),
    "num_attention_heads": _nullable(_PER_LEVEL),
    "norm_num_groups": _nullable(_WIDTH),
    "downsample_padding": _whole(0, 1),
    "time_cond_proj_dim": _nullable(_WIDTH),
    "time_embedding_dim": _nullable(_WIDTH),
    "addition_time_embed_dim": _nullable(_WIDTH),
    "projection_class_embeddings_input_dim": _nullable(_WIDTH),
    "mid_block_scale_factor": _number(-1e6, 1e6),
}
_CONTROLNET: Final = {
    **_UNET,
    "conditioning_channels": _CHANNELS,
    "conditioning_embedding_out_channels": _nullable(_WIDTHS),
    "controlnet_conditioning_channel_order": _TEXT,
    "global_pool_conditions": _FLAG,
}
_T2I_ADAPTER: Final = {
    "adapter_type": _word("full_adapter", "full_adapter_xl", "light_adapter"),
    "in_channels": _CHANNELS,
    "channels": _WIDTHS,
    "num_res_blocks": _LAYERS,
    "downscale_factor": _whole(1, 64),
}
_TEXT_ENCODER: Final = {
    "hidden_size": _WIDTH,
    "intermediate_size": _WIDTH,
    "num_hidden_layers": _LAYERS,
    "num_attention_heads": _WIDTH,
    "max_position_embeddings": _whole(2, 1 << 14),
    "vocab_size": _whole(1, 10_000_000),
    "projection_dim": _nullable(_WIDTH),
    "eos_token_id": _whole(0, 10_000_000),
    "hidden_act": _TEXT,
    "use_attention_mask": _nullable(_FLAG),
}
_VISION_ENCODER: Final = {
    "hidden_size": _WIDTH,
    "intermediate_size": _WIDTH,
    "num_hidden_layers": _LAYERS,
    "num_attention_heads": _WIDTH,
    "num_channels": _CHANNELS,
    "image_size": _SIDE,
    "patch_size": _SIDE,
    "projection_dim": _nullable(_WIDTH),
    "hidden_act": _TEXT,
}
_CLIP: Final = {
    "model_type": _TEXT,
    "projection_dim": _WIDTH,
    "text_config": _entries(_TEXT_ENCODER),
    "text_config_dict": _nullable(_entries(_TEXT_ENCODER)),
    "vision_config": _entries(_VISION_ENCODER),
    "vision_config_dict": _nullable(_entries(_VISION_ENCODER)),
}
_TOKENIZER: Final = {
    # Transformers writes 10**30 for a tokenizer without a limit.
    "model_max_length": _nullable(_number(2, 1e31)),
    "do_lower_case": _FLAG,
    "add_prefix_space": _FLAG,
    "errors": _word("strict", "replace", "ignore"),
}
_DEFAULTS: Final = {
    "family": _TEXT,
    "num_inference_steps": _whole(1, 10_000),
    "guidance_scale": _number(0, 1000),
    "width": _whole(1, 1 << 15),
    "height": _whole(1, 1 << 15),
    "scheduler": _TEXT,
    "words": _list_of(_TEXT, 1_000_000, least=0),
}
_RULES: Final[Mapping[str, Mapping[str, _Rule]]] = {
    DEFAULTS_FILE: _DEFAULTS,
    "unet": _UNET,
    "controlnet": _CONTROLNET,
    "t2i_adapter": _T2I_ADAPTER,
    "vae": _VAE,
    "text_encoder": _TEXT_ENCODER,
    "text_encoder_2": _TEXT_ENCODER,
    CLIP_MODEL: _CLIP,
    "image_encoder": {**_VISION_ENCODER, "model_type": _TEXT},
    "scheduler": _SCHEDULER,
    "tokenizer": _TOKENIZER,
    "tokenizer_2": _TOKENIZER,
}

_CODE_KEYS: Final = (
    "auto_map",
    "trust_remote_code",
    "custom_pipelines",
    "attn_implementation",
    "_attn_implementation",
    "_attn_implementation_internal",
    "experts_implementation",
    "_experts_implementation",
    "transformers_weights",
    "name_or_path",
    "vocab_file",
    "merges_file",
    "tokenizer_file",
)
"""Keys with which a library would import code, fetch it, or read other files."""

# Common keys of that kind that only say where the model came from.
_HARMLESS: Final = frozenset({"name_or_path"})


def read_config(path: Path, component: str) -> dict[str, Any]:
    """Read the configuration of a component.

    Keys that name code or other files are left out. Raises the errors of `read_json`, CorruptError
    for a value of another type or out of range, and ModelError for quantized weights.
    """
    config = read_json(path)
    if component.startswith("text_encoder") and isinstance(config.get("text_config"), dict):
        # A whole CLIP, of which Transformers takes the half for text.
        config = config["text_config"]
    for key, rule in _RULES[component].items():
        if key in config and not rule.accepts(config[key]):
            raise _value_error(path, key, config[key], rule.text)
    for key, value in config.items():
        # Beyond 64 bits, conversions raise errors of their own.
        if type(value) is int and abs(value) > _MAX_NUMBER and key not in _RULES[component]:
            raise _value_error(path, key, value, f"at most {_MAX_NUMBER:,}")
    if config.get("quantization_config") is not None:
        raise ModelError(
            f"{component}: {path}: quantization_config: quantized weights are not supported",
            code="model.quantized",
            hint="use the model's ordinary weights",
        )
    return {key: value for key, value in config.items() if key not in _CODE_KEYS}


def ignored_keys(path: Path) -> tuple[str, ...]:
    """Return the keys that `read_config` leaves out of the file and a library would obey."""
    config = read_json(path)
    return tuple(key for key in _CODE_KEYS if config.get(key) and key not in _HARMLESS)


def _value_error(path: Path, key: str, value: object, text: str) -> CorruptError:
    return CorruptError(
        f"{path}: {key} is {shorten(value)}; it must be {text}",
        code="model.corrupt",
        hint="download the file again",
    )
