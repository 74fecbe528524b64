"""Turn prompts into the tokens of a text encoder, and find the text that does not fit."""

from __future__ import annotations

from typing import Any

import torch

from sdcli.errors import CorruptError


def tokenize(tokenizer: Any, text_encoder: Any, prompt: str, device: torch.device) -> Any:
    """Return the tokens of a prompt, `input_ids` and `attention_mask`, each (1, 77).

    Raises CorruptError for a token that the text encoder has no embedding for.
    """
    tokens = tokenizer(
        prompt,
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    check_ids(tokens.input_ids, text_encoder)
    return tokens.to(device)


def check_ids(ids: torch.Tensor, text_encoder: Any) -> None:
    """Raise CorruptError for a token that the text encoder has no embedding for."""
    largest, known = int(ids.max()), text_encoder.config.vocab_size
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
