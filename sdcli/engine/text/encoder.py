"""Prompts to embeddings, as `StableDiffusionPipeline.encode_prompt` computes them.

Own code because the pipeline's `clip_skip` fails with transformers >= 5.6 (huggingface/diffusers
#14124), because it only logs what it cuts off, and because a prompt need be encoded once only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from sdcli.errors import UsageError


@dataclass(frozen=True, kw_only=True, eq=False)
class PromptEmbedding:
    """A prompt's embeddings (1, 77, width), and the end of its text that CLIP did not read."""

    embeds: torch.Tensor
    truncated_text: str


class PromptEncoder:
    """Encodes with one tokenizer and text encoder, and remembers the last prompts."""

    def __init__(self, tokenizer: Any, text_encoder: Any, device: torch.device) -> None:
        self._tokenizer = tokenizer
        self._text_encoder = text_encoder
        self._device = device
        self._remembered = lru_cache(maxsize=256)(self._encode)

    def encode(self, prompt: str, clip_skip: int | None = None) -> PromptEmbedding:
        """Embeddings of one prompt.

        `clip_skip` leaves out that many last layers of the text encoder. Raises UsageError when
        it has not so many.
        """
        layers = self._text_encoder.config.num_hidden_layers
        if clip_skip is not None and clip_skip > layers:
            raise UsageError(
                f"clip_skip: {clip_skip}, but this text encoder has {layers} layers",
                code="usage.clip_skip",
            )
        return self._remembered(prompt, clip_skip)

    @torch.no_grad()
    def _encode(self, prompt: str, clip_skip: int | None) -> PromptEmbedding:
        tokenizer, text_encoder = self._tokenizer, self._text_encoder
        length = tokenizer.model_max_length
        ids = tokenizer(
            prompt, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        ).input_ids.to(self._device)  # (1, 77)
        if clip_skip is None:
            embeds = text_encoder(ids)[0]
        else:
            hidden_states = text_encoder(ids, output_hidden_states=True).hidden_states
            embeds = text_encoder.final_layer_norm(hidden_states[-(clip_skip + 1)])
        return PromptEmbedding(
            embeds=embeds.to(text_encoder.dtype), truncated_text=self._lost(prompt, length)
        )

    def _lost(self, prompt: str, length: int) -> str:
        ids = self._tokenizer(prompt).input_ids
        return str(self._tokenizer.decode(ids[length - 1 : -1])) if len(ids) > length else ""
