"""Encode prompts of any length, whose words have weights, as A1111 does."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

from sdcli.engine.text.tokens import check_ids
from sdcli.prompts.syntax.chunks import Chunk, split_chunks
from sdcli.prompts.syntax.weights import read_weights

# A factor far from 1 usually comes from a mean near 0, and would distort the states.
_LEAST_FACTOR, _LARGEST_FACTOR = 0.1, 10.0

UNRESTORED: Final = (
    "the weights moved the mean of the text embeddings too far to restore it; weights nearer to 1 "
    "may look better"
)
"""The event of a chunk whose mean was left as the weights made it."""

RunEncoder = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor | None]]
"""Encodes ids and their attention mask, each (1, 77), to states (1, 77, width) and pooled ones."""


@dataclass(frozen=True, eq=False)
class WeightedEmbedding:
    """States (1, 77 for each chunk, width), and the pooled embedding of the first chunk."""

    embeds: torch.Tensor
    pooled: torch.Tensor | None
    notes: tuple[str, ...]


def read_chunks(tokenizer: Any, prompt: str) -> tuple[Chunk, ...]:
    """Return the tokens of a prompt with weights, in chunks as long as the tokenizer's limit."""

    def tokenize(text: str) -> list[tuple[int, int, int]]:
        tokens = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        pairs = zip(tokens.input_ids, tokens.offset_mapping, strict=True)
        return [(token, start, end) for token, (start, end) in pairs]

    # Two places are for the start and the end token.
    return split_chunks(read_weights(prompt), tokenize, tokenizer.model_max_length - 2)


def encode_weighted(
    tokenizer: Any, text_encoder: Any, prompt: str, run: RunEncoder
) -> WeightedEmbedding:
    """Encode each chunk of a prompt, weigh its states, and restore their mean.

    Only the prompt's own tokens have weights. The mean is that of one chunk of one image, whereas
    A1111 takes it over all images of a batch.
    """
    states, notes = [], []
    pooled = None
    for index, chunk in enumerate(read_chunks(tokenizer, prompt)):
        ids, mask = _pad(tokenizer, chunk)
        check_ids(ids, text_encoder)
        encoded, pooled_states = run(ids.to(text_encoder.device), mask.to(text_encoder.device))
        weighted, is_restored = _weigh(encoded, [token.weight for token in chunk])
        states.append(weighted)
        notes += [] if is_restored else [UNRESTORED]
        pooled = pooled_states if index == 0 else pooled
    return WeightedEmbedding(torch.cat(states, dim=1), pooled, tuple(dict.fromkeys(notes)))


def _pad(tokenizer: Any, chunk: Chunk) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the ids of a chunk between its marks, and the mask of what is not padding."""
    length, pad = tokenizer.model_max_length, tokenizer.pad_token_id
    ids = [tokenizer.bos_token_id, *(token.id for token in chunk), tokenizer.eos_token_id]
    filling = [tokenizer.eos_token_id if pad is None else pad] * (length - len(ids))
    mask = [1] * len(ids) + [0] * len(filling)
    return torch.tensor([ids + filling]), torch.tensor([mask])


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
