"""Encode prompts of any length, whose words have weights, as A1111 does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

import torch

from sdcli.engine.text.tokens import check_ids, find_tokens, pad_ids
from sdcli.fields.embedding import EmbeddingWord
from sdcli.prompts.syntax.chunks import Chunk, split_chunks
from sdcli.prompts.syntax.embedding_words import tokenize_words
from sdcli.prompts.syntax.weights import read_weights

# A factor far from 1 usually comes from a mean near 0, and would distort the states.
_LEAST_FACTOR, _LARGEST_FACTOR = 0.1, 10.0

UNRESTORED: Final = (
    "the weights moved the mean of the text embeddings too far to restore it; weights nearer to 1 "
    "may look better"
)
"""The event of a chunk whose mean was left as the weights made it."""


class RunEncoder(Protocol):
    """Encodes ids and their attention mask, each (1, 77), to states (1, 77, width) and pooled ones.

    `visible` is 0 for tokens that no other one attends to, with any text encoder.
    """

    def __call__(
        self, ids: torch.Tensor, mask: torch.Tensor, visible: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the states, and the pooled ones of a text encoder that has them."""


@dataclass(frozen=True, eq=False)
class WeightedEmbedding:
    """States (1, 77 for each chunk, width), and the pooled embedding of the first chunk.

    `truncated_text` is the end of the text that was cut off.
    """

    embeds: torch.Tensor
    pooled: torch.Tensor | None
    notes: tuple[str, ...]
    truncated_text: str = ""


def read_chunks(
    tokenizer: Any, prompt: str, words: Sequence[EmbeddingWord] = ()
) -> tuple[Chunk, ...]:
    """Return the tokens of a prompt with weights, in chunks as long as the tokenizer's limit.

    `words` are those that stand for embeddings.
    """
    tokenize = tokenize_words(partial(find_tokens, tokenizer), tuple(words))
    # Two places are for the start and the end token.
    return split_chunks(read_weights(prompt), tokenize, tokenizer.model_max_length - 2)


def encode_weighted(
    tokenizer: Any,
    text_encoder: Any,
    prompt: str,
    run: RunEncoder,
    words: Sequence[EmbeddingWord] = (),
) -> WeightedEmbedding:
    """Encode each chunk of a prompt, weigh its states, and restore their mean.

    Only the prompt's own tokens have weights. The mean is that of one chunk of one image, whereas
    A1111 takes it over all images of a batch.
    """
    states, notes = [], []
    pooled = None
    for index, chunk in enumerate(read_chunks(tokenizer, prompt, words)):
        ids, mask = pad_ids(tokenizer, [token.id for token in chunk])
        check_ids(ids, text_encoder)
        encoded, pooled_states = run(ids, mask)
        weighted, is_restored = _weigh(encoded, [token.weight for token in chunk])
        states.append(weighted)
        notes += [] if is_restored else [UNRESTORED]
        pooled = pooled_states if index == 0 else pooled
    return WeightedEmbedding(torch.cat(states, dim=1), pooled, tuple(dict.fromkeys(notes)))


def _weigh(states: torch.Tensor, weights: Sequence[float]) -> tuple[torch.Tensor, bool]:
    """Multiply the states (1, 77, width) of the tokens; return also whether the mean is as before.

    Equal weights of 1 leave every bit as it is.
    """
    if all(weight == 1 for weight in weights):
        return states, True
    rows = torch.ones(states.shape[1])
    rows[1 : len(weights) + 1] = torch.tensor(weights)
    # Half precision has too few digits for a mean that is nearly zero.
    before = states.float()
    weighted = before * rows.to(states.device)[None, :, None]
    factor = (before.mean() / weighted.mean()).item()
    is_restored = math.isfinite(factor) and _LEAST_FACTOR <= factor <= _LARGEST_FACTOR
    return (weighted * factor if is_restored else weighted).to(states.dtype), is_restored
