"""Take a UNet call apart: the rows of its arguments, its prompt, and its result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


def last_rows(value: Any, kept: int, batch: int) -> Any:
    """Return the arguments of a call for the last `kept` rows of its batch.

    Every tensor of `batch` rows is cut, within lists and dictionaries, too.
    """
    if isinstance(value, torch.Tensor):
        return value[-kept:] if value.ndim and len(value) == batch else value
    if isinstance(value, dict):
        return {name: last_rows(item, kept, batch) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(last_rows(item, kept, batch) for item in value)
    return value


def with_prompt(
    arguments: Mapping[str, Any], embeds: torch.Tensor, pooled: torch.Tensor | None
) -> dict[str, Any]:
    """Return the named arguments of a call with the embeddings of another prompt."""
    changed = {**arguments, "encoder_hidden_states": embeds}
    if pooled is not None:
        added = {**arguments["added_cond_kwargs"], "text_embeds": pooled}
        changed["added_cond_kwargs"] = added
    return changed


def sample_of(output: Any) -> torch.Tensor:
    """Return the prediction, which is the first of a tuple, or named."""
    sample: torch.Tensor = output[0] if isinstance(output, tuple) else output.sample
    return sample
