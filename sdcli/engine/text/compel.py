"""Encode prompts in compel's language as compel does.

A token of weight w has the state e + w (z - e): z is its own state, e that of an empty prompt at
the same place. Text below 1 is also taken away: a second encoding, in which no token attends to it,
has the share tan((1 - w) π/2) beside the share 1 of the first. Those shares are divided by their
sum, as are the weights of a blend.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import torch

from sdcli.engine.text.tokens import check_ids, find_tokens, pad_ids
from sdcli.engine.text.weighted import RunEncoder, WeightedEmbedding
from sdcli.fields.embedding import EmbeddingWord
from sdcli.prompts.syntax.chunks import Chunk, Tokenize
from sdcli.prompts.syntax.compel import Part, read_compel
from sdcli.prompts.syntax.compel_tokens import FittedText, fit_text
from sdcli.prompts.syntax.embedding_words import tokenize_words

_LEAST_WEIGHT: Final = 1e-5
"""A weight of 0 would have an infinite share."""


def encode_compel(
    tokenizer: Any,
    text_encoder: Any,
    prompt: str,
    run: RunEncoder,
    words: Sequence[EmbeddingWord] = (),
) -> WeightedEmbedding:
    """Encode each text of a prompt, blend them, and put the parts one after the other.

    The pooled embedding is that of the first text, without weights.
    """
    tokenize = tokenize_words(partial(find_tokens, tokenizer), tuple(words))
    encoder = _TextEncoder(tokenizer, text_encoder, run, tokenize)
    parts = [encoder.encode_part(part) for part in read_compel(prompt)]
    return WeightedEmbedding(
        torch.cat(parts, dim=1), encoder.pooled, (), " ".join(encoder.truncated)
    )


class _TextEncoder:
    """Encodes texts; `pooled` is that of the first, `truncated` are the ends that were cut off."""

    def __init__(
        self, tokenizer: Any, text_encoder: Any, run: RunEncoder, tokenize: Tokenize
    ) -> None:
        self._tokenizer = tokenizer
        self._text_encoder = text_encoder
        self._run = run
        self._tokenize = tokenize
        self.pooled: torch.Tensor | None = None
        self.truncated: list[str] = []

    def encode_part(self, part: Part) -> torch.Tensor:
        """Return the states (1, 77, width) of a part."""
        limit = self._tokenizer.model_max_length - 2
        texts = [fit_text(section, self._tokenize, limit) for section in part.texts]
        self.truncated += [text.rest for text in texts if text.rest]
        states = [self._encode_text(text) for text in texts]
        blended = _blend(states, part.shares, is_normalized=part.is_normalized)
        # Arithmetic with 1 would still round.
        if part.weight == 1:
            return blended
        empty = self._states(())
        return _weigh(blended, empty, torch.tensor([part.weight]))

    def _encode_text(self, text: FittedText) -> torch.Tensor:
        states = [self._weighted(text.tokens)]
        shares = [1.0]
        for (start, end), weight in text.below_one:
            visible = torch.ones(1, self._tokenizer.model_max_length, dtype=torch.long)
            # The start token comes first.
            visible[0, start + 1 : end + 1] = 0
            states.append(self._weighted(text.tokens, visible))
            shares.append(math.tan((1 - max(weight, _LEAST_WEIGHT)) * math.pi / 2))
        return _blend(states, shares, is_normalized=True)

    def _weighted(self, tokens: Chunk, visible: torch.Tensor | None = None) -> torch.Tensor:
        """Return the states of tokens, moved away from those of an empty prompt."""
        states = self._states(tokens, visible)
        rows = torch.ones(states.shape[1])
        rows[1 : len(tokens) + 1] = torch.tensor([token.weight for token in tokens])
        if bool((rows == 1).all()):
            return states
        return _weigh(states, self._states(()), rows)

    def _states(self, tokens: Chunk, visible: torch.Tensor | None = None) -> torch.Tensor:
        ids, mask = pad_ids(self._tokenizer, [token.id for token in tokens])
        check_ids(ids, self._text_encoder)
        device = self._text_encoder.device
        states, pooled = self._run(
            ids.to(device), mask.to(device), None if visible is None else visible.to(device)
        )
        self.pooled = pooled if self.pooled is None else self.pooled
        return states


def _weigh(states: torch.Tensor, empty: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the states with these weights of all rows, or of each; a weight of 1 changes none."""
    rows = weights.to(states.device)[None, :, None]
    # Half precision would round the difference.
    weighted = empty.float() + (states.float() - empty.float()) * rows
    return torch.where(rows == 1, states, weighted.to(states.dtype))


def _blend(
    states: Sequence[torch.Tensor], weights: Sequence[float], *, is_normalized: bool
) -> torch.Tensor:
    if len(states) == 1 and (is_normalized or weights[0] == 1):
        return states[0]
    shares = torch.tensor(weights, device=states[0].device)
    if is_normalized:
        shares = shares / shares.sum()
    stacked = torch.stack([one.float() for one in states])
    return (stacked * shares[:, None, None, None]).sum(dim=0).to(states[0].dtype)
