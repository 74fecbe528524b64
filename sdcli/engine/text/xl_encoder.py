"""Encode prompts into the embeddings that `StableDiffusionXLPipeline.encode_prompt` computes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch

from sdcli.checkpoints.adapters.embedding_file import XL_KEYS
from sdcli.engine.text.embeddings import NO_VECTORS, JobVectors, read_vectors
from sdcli.engine.text.encoder import PromptEmbedding, clip_skip_error
from sdcli.engine.text.syntaxes import ENCODERS
from sdcli.engine.text.tokens import tokenize
from sdcli.fields.prompt import A1111, PLAIN
from sdcli.job import Job

_States = tuple[torch.Tensor, torch.Tensor | None]


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
        return self._encode(texts, job.clip_skip, job)

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
        return self._encode(texts, None, job)

    def forget(self) -> None:
        """Forget all embeddings, because the text encoders change."""
        self._encode_cached.cache_clear()

    def _encode(self, texts: Sequence[str], clip_skip: int | None, job: Job) -> PromptEmbedding:
        """Encode a text for each text encoder; the only one of a refiner gets the first."""
        count = len(self._text_encoders)
        vectors = read_vectors(job, XL_KEYS[-count:])
        parts = [
            self._encode_cached(i, text, clip_skip, job.read_as, vectors)
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
                empty = self._encode_cached(i, "", clip_skip, A1111, NO_VECTORS).embeds
                states[i] = torch.cat([part.embeds, *[empty] * (missing // empty.shape[1])], dim=1)
        return states

    @torch.no_grad()
    def _encode_text(
        self,
        index: int,
        text: str,
        clip_skip: int | None,
        syntax: str,
        vectors: JobVectors,
    ) -> PromptEmbedding:
        tokenizer, encoder = self.tokenizers[index], self._text_encoders[index]
        layers = encoder.config.num_hidden_layers
        if clip_skip is not None and clip_skip >= layers:
            raise clip_skip_error(clip_skip, layers)
        with vectors.replacing_rows(encoder, index) as place:

            def run(
                ids: torch.Tensor, mask: torch.Tensor, visible: torch.Tensor | None = None
            ) -> _States:
                # The mask is not used, as in Diffusers.
                seen = None if visible is None else visible.to(self._device)
                return self._run(index, clip_skip, place(ids.to(self._device)), seen)

            if syntax != PLAIN:
                weighted = ENCODERS[syntax](tokenizer, encoder, text, run, vectors.words)
                embeds, pooled, notes = weighted.embeds, weighted.pooled, weighted.notes
                rest = weighted.truncated_text
            else:
                tokens = tokenize(tokenizer, encoder, text, self._device, vectors.words)
                (embeds, pooled), notes = run(tokens.ids, tokens.mask), ()
                rest = tokens.truncated_text
        return PromptEmbedding(embeds=embeds, pooled=pooled, truncated_text=rest, notes=notes)

    def _run(
        self, index: int, clip_skip: int | None, ids: torch.Tensor, visible: torch.Tensor | None
    ) -> _States:
        """Return the states (1, 77, width) of ids (1, 77), and the pooled embedding (1, width)."""
        output = self._text_encoders[index](ids, attention_mask=visible, output_hidden_states=True)
        # The UNet was trained on the states before the last layer, not normalized.
        skipped = 2 + (clip_skip or 0)
        # The first text encoder has no projection: its first output is not pooled.
        pooled = output[0] if output[0].ndim == 2 else None
        return output.hidden_states[-skipped], pooled
