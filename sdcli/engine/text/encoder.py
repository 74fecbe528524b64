"""Encode prompts into the embeddings that `StableDiffusionPipeline.encode_prompt` computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Protocol

import torch

from sdcli.engine.runtime.diffusers_internals import final_layer_norm, uses_attention_mask
from sdcli.engine.text.tokens import tokenize, truncated_text
from sdcli.engine.text.weighted import encode_weighted
from sdcli.errors import UsageError
from sdcli.job import Job


@dataclass(frozen=True, kw_only=True, eq=False)
class PromptEmbedding:
    """The embeddings (1, 77, width) of a prompt, and the end of its text that did not fit.

    A prompt whose syntax is read fits, in chunks of 77 tokens one after the other; `notes` are
    sentences about it.

    With two text encoders, `pooled` has the pooled embedding (1, width) of the second one, and
    `truncated_text_2` the end that did not fit into it.
    """

    embeds: torch.Tensor
    truncated_text: str
    pooled: torch.Tensor | None = None
    truncated_text_2: str | None = None
    notes: tuple[str, ...] = ()


class JobEncoder(Protocol):
    """Encodes the prompts of jobs. Raises UsageError for a clip_skip of too many layers."""

    @property
    def tokenizers(self) -> Sequence[Any]:
        """The tokenizer of each text encoder."""

    def encode_prompt(self, job: Job) -> PromptEmbedding:
        """Encode the job's prompt. Of its syntax, only weights and BREAK are read."""

    def encode_negative_prompt(self, job: Job) -> PromptEmbedding:
        """Encode the job's negative prompt in the same way."""

    def forget(self) -> None:
        """Forget all embeddings, because the text encoders change."""


class PromptEncoder:
    """Encode prompts with one tokenizer and text encoder, caching the last 256."""

    # Not the pipeline's `encode_prompt`: its clip_skip fails with transformers >= 5.6 (diffusers
    # issue 14124), it only logs the text that it truncates, and it encodes equal prompts again.

    def __init__(self, tokenizer: Any, text_encoder: Any, device: torch.device) -> None:
        self.tokenizers = (tokenizer,)
        self._text_encoder = text_encoder
        self._device = device
        self._encode_cached = lru_cache(maxsize=256)(self._encode)

    def encode_prompt(self, job: Job) -> PromptEmbedding:
        """Encode the job's prompt. Raises UsageError."""
        return self.encode(job.prompt, job.clip_skip, reads_syntax=job.reads_syntax)

    def encode_negative_prompt(self, job: Job) -> PromptEmbedding:
        """Encode the job's negative prompt."""
        # Without clip_skip: Diffusers doesn't apply it to the negative prompt.
        return self.encode(job.negative_prompt, reads_syntax=job.reads_syntax)

    def forget(self) -> None:
        """Forget all embeddings, because the text encoder changes."""
        self._encode_cached.cache_clear()

    def encode(
        self, prompt: str, clip_skip: int | None = None, *, reads_syntax: bool = False
    ) -> PromptEmbedding:
        """Encode one prompt.

        `clip_skip` is the number of last layers of the text encoder to leave out. Raises UsageError
        if it doesn't have that many.
        """
        layers = self._text_encoder.config.num_hidden_layers
        if clip_skip is not None and clip_skip > layers:
            raise clip_skip_error(clip_skip, layers)
        return self._encode_cached(prompt, clip_skip, reads_syntax)

    @torch.no_grad()
    def _encode(self, prompt: str, clip_skip: int | None, reads_syntax: bool) -> PromptEmbedding:
        [tokenizer] = self.tokenizers
        if reads_syntax:
            run = partial(self._run, clip_skip=clip_skip)
            weighted = encode_weighted(tokenizer, self._text_encoder, prompt, run)
            return PromptEmbedding(embeds=weighted.embeds, truncated_text="", notes=weighted.notes)
        tokens = tokenize(tokenizer, self._text_encoder, prompt, self._device)
        embeds, _ = self._run(tokens.input_ids, tokens.attention_mask, clip_skip)
        return PromptEmbedding(embeds=embeds, truncated_text=truncated_text(tokenizer, prompt))

    def _run(
        self, ids: torch.Tensor, attention_mask: torch.Tensor, clip_skip: int | None
    ) -> tuple[torch.Tensor, None]:
        """Return the states (1, 77, width) of ids (1, 77)."""
        text_encoder = self._text_encoder
        mask = attention_mask if uses_attention_mask(text_encoder) else None
        if clip_skip is None:
            embeds = text_encoder(ids, attention_mask=mask)[0]
        else:
            output = text_encoder(ids, attention_mask=mask, output_hidden_states=True)
            hidden_states = output.hidden_states
            # Intermediate layers are not normalized, but the UNet was trained on normalized states.
            embeds = final_layer_norm(text_encoder)(hidden_states[-(clip_skip + 1)])
        return embeds.to(text_encoder.dtype), None


def clip_skip_error(clip_skip: int, layers: int) -> UsageError:
    """The error of a clip_skip that leaves out more layers than there are."""
    return UsageError(
        f"clip_skip: {clip_skip}, but this text encoder has {layers} layers",
        code="usage.clip_skip",
    )
