"""Turn prompts into the tokens of a text encoder, and find the text that does not fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from sdcli.errors import CorruptError
from sdcli.fields.embedding import EmbeddingWord
from sdcli.prompts.syntax.embedding_words import FIRST_VECTOR, Token, has_word, tokenize_words


@dataclass(frozen=True, eq=False)
class PlainTokens:
    """The ids of a prompt and their mask, each (1, 77), and the text that does not fit."""

    ids: torch.Tensor
    mask: torch.Tensor
    truncated_text: str


def tokenize(
    tokenizer: Any,
    text_encoder: Any,
    prompt: str,
    device: torch.device,
    words: Sequence[EmbeddingWord] = (),
) -> PlainTokens:
    """Return the tokens of a prompt, all of which is words; some of them stand for embeddings.

    Raises CorruptError for a token that the text encoder has no embedding for.
    """
    if any(has_word(prompt, word.word) for word in words):
        return _tokenize_words(tokenizer, text_encoder, prompt, device, words)
    tokens = tokenizer(
        prompt,
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    check_ids(tokens.input_ids, text_encoder)
    tokens = tokens.to(device)
    return PlainTokens(tokens.input_ids, tokens.attention_mask, truncated_text(tokenizer, prompt))


def _tokenize_words(
    tokenizer: Any,
    text_encoder: Any,
    prompt: str,
    device: torch.device,
    words: Sequence[EmbeddingWord],
) -> PlainTokens:
    tokens = tokenize_words(partial(find_tokens, tokenizer), tuple(words))(prompt)
    limit = tokenizer.model_max_length - 2
    ids, mask = pad_ids(tokenizer, [token for token, *_ in tokens[:limit]])
    check_ids(ids, text_encoder)
    rest = prompt[tokens[limit][1] :] if len(tokens) > limit else ""
    return PlainTokens(ids.to(device), mask.to(device), rest)


def find_tokens(tokenizer: Any, text: str) -> list[Token]:
    """Return the tokens of a text, without marks."""
    tokens = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    pairs = zip(tokens.input_ids, tokens.offset_mapping, strict=True)
    return [(token, start, end) for token, (start, end) in pairs]


def pad_ids(tokenizer: Any, tokens: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids between the marks, filled up to (1, 77), and the mask of what is no filling."""
    length, pad = tokenizer.model_max_length, tokenizer.pad_token_id
    ids = [tokenizer.bos_token_id, *tokens, tokenizer.eos_token_id]
    filling = [tokenizer.eos_token_id if pad is None else pad] * (length - len(ids))
    mask = [1] * len(ids) + [0] * len(filling)
    return torch.tensor([ids + filling]), torch.tensor([mask])


def check_ids(ids: torch.Tensor, text_encoder: Any) -> None:
    """Raise CorruptError for a token that the text encoder has no embedding for."""
    largest, known = int(ids[ids < FIRST_VECTOR].max()), text_encoder.config.vocab_size
    # On CUDA, the embedding would end the process's use of the device.
    if largest >= known:
        raise CorruptError(
            f"tokenizer: gives the token {largest}, but the text encoder knows {known}",
            code="model.corrupt",
            hint="use the tokenizer that belongs to the text encoder",
        )


def truncated_text(tokenizer: Any, prompt: str) -> str:
    """Return the end of a prompt that does not fit, "" if all of it fits."""
    length = tokenizer.model_max_length
    ids = tokenizer(prompt).input_ids
    # The last token of `ids` and of the truncated ids is the end-of-text token.
    return str(tokenizer.decode(ids[length - 1 : -1])) if len(ids) > length else ""
