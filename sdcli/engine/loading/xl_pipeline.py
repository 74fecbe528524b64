"""Build the pipelines of Stable Diffusion XL from loaded components."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline

from sdcli.checkpoints.model_defaults import describe_model
from sdcli.checkpoints.model_index import find_text_encoders, find_tokenizers
from sdcli.engine.text.xl_encoder import XlPromptEncoder
from sdcli.errors import ModelError

_OPTIONAL: Final = ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")


def build_xl_pipeline(folder: Path, parts: Mapping[str, Any], vae: Any, scheduler: Any) -> Any:
    """Build the text-to-image pipeline of the model in `folder`."""
    pipeline = StableDiffusionXLPipeline(
        **parts,
        vae=vae,
        scheduler=scheduler,
        force_zeros_for_empty_prompt=_traits(folder).zeroes_negative,
        add_watermarker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def build_refiner_pipeline(folder: Path, parts: Mapping[str, Any], vae: Any, scheduler: Any) -> Any:
    """Build the pipeline that continues a run with the model in `folder`."""
    pipeline = StableDiffusionXLImg2ImgPipeline(
        **{**dict.fromkeys(_OPTIONAL), **parts},
        vae=vae,
        scheduler=scheduler,
        requires_aesthetics_score=_traits(folder).takes_aesthetic_score,
        force_zeros_for_empty_prompt=_traits(folder).zeroes_negative,
        add_watermarker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def xl_prompt_encoder(folder: Path, pipeline: Any, device: torch.device) -> XlPromptEncoder:
    """Return the encoder of the prompts of a pipeline. Raises ModelError."""
    tokenizers = [getattr(pipeline, name) for name in find_tokenizers(folder)]
    lengths = [int(tokenizer.model_max_length) for tokenizer in tokenizers]
    if len(set(lengths)) > 1:
        raise ModelError(
            f"{folder}: its tokenizers make {' and '.join(map(str, lengths))} tokens, which cannot "
            "be joined",
            code="model.incompatible",
            hint="use the tokenizers that the model was trained with",
        )
    encoders = [getattr(pipeline, name) for name in find_text_encoders(folder)]
    zeroes_negative = _traits(folder).zeroes_negative
    return XlPromptEncoder(tokenizers, encoders, device, zeroes_negative=zeroes_negative)


def _traits(folder: Path) -> Any:
    return describe_model(folder).xl
