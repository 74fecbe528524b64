"""Encode prompts into the embeddings that `StableDiffusionPipeline.encode_prompt` computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import torch

from sdcli.checkpoints.adapters.embedding_file import ONLY
from sdcli.engine.runtime.diffusers_internals import final_layer_norm, uses_attention_mask
from sdcli.engine.text.embeddings import NO_VECTORS, JobVectors, read_vectors
from sdcli.engine.text.syntaxes import ENCODERS
from sdcli.engine.text.tokens import tokenize
from sdcli.errors import UsageError
from sdcli.fields.prompt import A1111, PLAIN
from sdcli.job import Job

_KEYS = (ONLY,)


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
        vectors = read_vectors(job, _KEYS)
        return self._checked(job.prompt, job.clip_skip, job.read_as, vectors)

    def encode_negative_prompt(self, job: Job) -> PromptEmbedding:
        """Encode the job's negative prompt."""
        # Without clip_skip: Diffusers doesn't apply it to the negative prompt.
        vectors = read_vectors(job, _KEYS)
        return self._checked(job.negative_prompt, None, job.read_as, vectors)

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
        return self._checked(prompt, clip_skip, A1111 if reads_syntax else PLAIN, NO_VECTORS)

    def _checked(
        self, prompt: str, clip_skip: int | None, syntax: str, vectors: JobVectors
    ) -> PromptEmbedding:
        layers = self._text_encoder.config.num_hidden_layers
        if clip_skip is not None and clip_skip > layers:
            raise clip_skip_error(clip_skip, layers)
        return self._encode_cached(prompt, clip_skip, syntax, vectors)

    @torch.no_grad()
    def _encode(
        self, prompt: str, clip_skip: int | None, syntax: str, vectors: JobVectors
    ) -> PromptEmbedding:
        [tokenizer], encoder = self.tokenizers, self._text_encoder
        with vectors.replacing_rows(encoder) as place:

            def run(
                ids: torch.Tensor, mask: torch.Tensor, visible: torch.Tensor | None = None
            ) -> tuple[torch.Tensor, None]:
                ids, mask = ids.to(self._device), mask.to(self._device)
                return self._run(place(ids), mask, visible, clip_skip), None

            if syntax != PLAIN:
                weighted = ENCODERS[syntax](tokenizer, encoder, prompt, run, vectors.words)
                embeds, rest = weighted.embeds, weighted.truncated_text
                notes = weighted.notes
            else:
                tokens = tokenize(tokenizer, encoder, prompt, self._device, vectors.words)
                embeds, _ = run(tokens.ids, tokens.mask)
                rest, notes = tokens.truncated_text, ()
        return PromptEmbedding(embeds=embeds, truncated_text=rest, notes=notes)

    def _run(
        self,
        ids: torch.Tensor,
        attention_mask: torch.Tensor,
        visible: torch.Tensor | None,
        clip_skip: int | None,
    ) -> torch.Tensor:
        """Return the states (1, 77, width) of ids (1, 77)."""
        text_encoder = self._text_encoder
        mask = attention_mask if uses_attention_mask(text_encoder) else None
        if visible is not None:
            visible = visible.to(self._device)
            mask = visible if mask is None else mask * visible
        if clip_skip is None:
            embeds = text_encoder(ids, attention_mask=mask)[0]
        else:
            output = text_encoder(ids, attention_mask=mask, output_hidden_states=True)
            hidden_states = output.hidden_states
            # Intermediate layers are not normalized, but the UNet was trained on normalized states.
            embeds = final_layer_norm(text_encoder)(hidden_states[-(clip_skip + 1)])
        states: torch.Tensor = embeds.to(text_encoder.dtype)
        return states


def clip_skip_error(clip_skip: int, layers: int) -> UsageError:
    """The error of a clip_skip that leaves out more layers than there are."""
    return UsageError(
        f"clip_skip: {clip_skip}, but this text encoder has {layers} layers",
        code="usage.clip_skip",
    )
