"""Combine the guidance of several prompts, those that AND joins, in every UNet call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from sdcli.engine.recorders.patching import patch_method
from sdcli.engine.text.conditioning import Component, Conditioning


@contextmanager
def combined_prompts(unet: Any, conditioning: Callable[[], Conditioning]) -> Iterator[None]:
    """Make the conditional half of the UNet's output that of all prompts of `conditioning`.

    With the unconditional output u and those of the prompts c_i, of weights w_i, it becomes
    u + Σ w_i (c_i - u), to which the pipeline then applies its guidance scale. This is Liu et al.
    2022, "Compositional Visual Generation with Composable Diffusion Models". Every prompt after
    the first takes one more UNet call, with half a batch.
    """

    def forward(original: Any, sample: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        first, *others = conditioning().components
        output = original(sample, *args, **kwargs)[0]
        unconditional, conditional = output.chunk(2)
        combined = unconditional + _weight(first, output) * (conditional - unconditional)
        images = len(conditional)
        half = [_conditional_half(value, images) for value in args]
        named = {name: _conditional_half(value, images) for name, value in kwargs.items()}
        for other in others:
            conditional = original(sample[images:], *half, **_with_prompt(named, other))[0]
            combined = combined + _weight(other, output) * (conditional - unconditional)
        return (torch.cat([unconditional, combined]),)

    with patch_method(unet, "forward", forward):
        yield


def _weight(component: Component, output: torch.Tensor) -> torch.Tensor:
    return component.weights.to(output)[:, None, None, None]


def _with_prompt(arguments: dict[str, Any], component: Component) -> dict[str, Any]:
    """Return the arguments of the UNet with the embeddings of a prompt."""
    changed = {**arguments, "encoder_hidden_states": component.prompt_embeds}
    if component.pooled_prompt_embeds is not None:
        added = {**arguments["added_cond_kwargs"], "text_embeds": component.pooled_prompt_embeds}
        changed["added_cond_kwargs"] = added
    return changed


def _conditional_half(value: Any, images: int) -> Any:
    """Return the second half of every tensor that has one, within lists and dictionaries, too."""
    if isinstance(value, torch.Tensor):
        return value[images:] if value.ndim and len(value) == 2 * images else value
    if isinstance(value, dict):
        return {key: _conditional_half(item, images) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_conditional_half(item, images) for item in value)
    return value
