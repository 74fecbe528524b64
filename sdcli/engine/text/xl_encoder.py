"""Encode prompts into the embeddings that `StableDiffusionXLPipeline.encode_prompt` computes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch

from sdcli.engine.text.encoder import PromptEmbedding, clip_skip_error
from sdcli.engine.text.tokens import tokenize, truncated_text
from sdcli.job import Job


class XlPromptEncoder:
    """Encode prompts with two text encoders, or with the only one of a refiner.

    Their states are joined, and the last text encoder gives the pooled embedding. With
    `zeroes_negative`, a negative prompt that was left out has embeddings of zero, which are not
    those of an empty text. The states of the last 256 texts are cached for each text encoder.
    """

    def __init__(
        self,
        tokenizers: Sequence[Any],
        text_encoders: Sequence[Any],
        device: torch.device,
        *,
        zeroes_negative: bool,
    ) -> None:
        self._tokenizers = tokenizers
        self._text_encoders = text_encoders
        self._device = device
        self._zeroes_negative = zeroes_negative
        self._encode_cached = lru_cache(maxsize=256 * len(text_encoders))(self._encode_text)

    def encode_prompt(self, job: Job) -> PromptEmbedding:
        """Encode the job's prompts. Raises UsageError for a clip_skip of too many layers."""
        return self._encode((job.prompt, job.prompt_2 or job.prompt), job.clip_skip)

    def encode_negative_prompt(self, job: Job) -> PromptEmbedding:
        """Encode the job's negative prompts."""
        if self._zeroes_negative and not (job.negative_prompt or job.empty_negative):
            template = self.encode_prompt(job)
            assert template.pooled is not None
            return PromptEmbedding(
                embeds=torch.zeros_like(template.embeds),
                pooled=torch.zeros_like(template.pooled),
                truncated_text="",
            )
        # Without clip_skip: Diffusers doesn't apply it to the negative prompt.
        texts = (job.negative_prompt, job.negative_prompt_2 or job.negative_prompt)
        return self._encode(texts, None)

    def forget(self) -> None:
        """Forget all embeddings, because the text encoders change."""
        self._encode_cached.cache_clear()

    def _encode(self, texts: Sequence[str], clip_skip: int | None) -> PromptEmbedding:
        """Encode a text for each text encoder; the only one of a refiner gets the first."""
        count = len(self._text_encoders)
        parts = [self._encode_cached(i, text, clip_skip) for i, text in enumerate(texts[:count])]
        embeds = torch.cat([embedding.embeds for embedding in parts], dim=-1)
        return PromptEmbedding(
            embeds=embeds.to(self._text_encoders[-1].dtype),
            pooled=parts[-1].pooled,
            truncated_text=parts[0].truncated_text,
            truncated_text_2=parts[-1].truncated_text,
        )

    @torch.no_grad()
    def _encode_text(self, index: int, text: str, clip_skip: int | None) -> PromptEmbedding:
        tokenizer, text_encoder = self._tokenizers[index], self._text_encoders[index]
        layers = text_encoder.config.num_hidden_layers
        if clip_skip is not None and clip_skip >= layers:
            raise clip_skip_error(clip_skip, layers)
        ids = tokenize(tokenizer, text_encoder, text, self._device).input_ids  # (1, 77)
        output = text_encoder(ids, output_hidden_states=True)
        # The UNet was trained on the states before the last layer, not normalized.
        skipped = 2 + (clip_skip or 0)
        return PromptEmbedding(
            embeds=output.hidden_states[-skipped],
            # The first text encoder has no projection: its first output is not pooled.
            pooled=output[0] if output[0].ndim == 2 else None,
            truncated_text=truncated_text(tokenizer, text),
        )
