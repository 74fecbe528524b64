"""Encode prompts into the embeddings that `StableDiffusionXLPipeline.encode_prompt` computes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

import torch

from sdcli.engine.text.encoder import PromptEmbedding, clip_skip_error
from sdcli.engine.text.tokens import tokenize, truncated_text
from sdcli.engine.text.weighted import encode_weighted
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
        self.tokenizers = tokenizers
        self._text_encoders = text_encoders
        self._device = device
        self._zeroes_negative = zeroes_negative
        self._encode_cached = lru_cache(maxsize=256 * len(text_encoders))(self._encode_text)

    def encode_prompt(self, job: Job) -> PromptEmbedding:
        """Encode the job's prompts. Raises UsageError for a clip_skip of too many layers."""
        texts = (job.prompt, job.prompt_2 or job.prompt)
        return self._encode(texts, job.clip_skip, job.reads_syntax)

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
        return self._encode(texts, None, job.reads_syntax)

    def forget(self) -> None:
        """Forget all embeddings, because the text encoders change."""
        self._encode_cached.cache_clear()

    def _encode(
        self, texts: Sequence[str], clip_skip: int | None, reads_syntax: bool
    ) -> PromptEmbedding:
        """Encode a text for each text encoder; the only one of a refiner gets the first."""
        count = len(self._text_encoders)
        parts = [
            self._encode_cached(i, text, clip_skip, reads_syntax)
            for i, text in enumerate(texts[:count])
        ]
        embeds = torch.cat(self._in_equal_chunks(parts, clip_skip), dim=-1)
        return PromptEmbedding(
            embeds=embeds.to(self._text_encoders[-1].dtype),
            pooled=parts[-1].pooled,
            truncated_text=parts[0].truncated_text,
            truncated_text_2=parts[-1].truncated_text,
            notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
        )

    def _in_equal_chunks(
        self, parts: Sequence[PromptEmbedding], clip_skip: int | None
    ) -> list[torch.Tensor]:
        """Return the states of the text encoders, the shorter ones with empty chunks at the end."""
        longest = max(part.embeds.shape[1] for part in parts)
        states = [part.embeds for part in parts]
        for i, part in enumerate(parts):
            missing = longest - part.embeds.shape[1]
            if missing:
                empty = self._encode_cached(i, "", clip_skip, True).embeds
                states[i] = torch.cat([part.embeds, *[empty] * (missing // empty.shape[1])], dim=1)
        return states

    @torch.no_grad()
    def _encode_text(
        self, index: int, text: str, clip_skip: int | None, reads_syntax: bool
    ) -> PromptEmbedding:
        tokenizer, text_encoder = self.tokenizers[index], self._text_encoders[index]
        layers = text_encoder.config.num_hidden_layers
        if clip_skip is not None and clip_skip >= layers:
            raise clip_skip_error(clip_skip, layers)
        if reads_syntax:
            run = partial(self._run, index, clip_skip)
            weighted = encode_weighted(tokenizer, text_encoder, text, run)
            return PromptEmbedding(
                embeds=weighted.embeds,
                pooled=weighted.pooled,
                truncated_text="",
                notes=weighted.notes,
            )
        tokens = tokenize(tokenizer, text_encoder, text, self._device)
        embeds, pooled = self._run(index, clip_skip, tokens.input_ids, tokens.attention_mask)
        return PromptEmbedding(
            embeds=embeds, pooled=pooled, truncated_text=truncated_text(tokenizer, text)
        )

    def _run(
        self, index: int, clip_skip: int | None, ids: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the states (1, 77, width) of ids (1, 77), and the pooled embedding (1, width)."""
        del mask  # as in Diffusers
        output = self._text_encoders[index](ids, output_hidden_states=True)
        # The UNet was trained on the states before the last layer, not normalized.
        skipped = 2 + (clip_skip or 0)
        # The first text encoder has no projection: its first output is not pooled.
        pooled = output[0] if output[0].ndim == 2 else None
        return output.hidden_states[-skipped], pooled
