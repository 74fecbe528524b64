"""Combine the guidance of several prompts, those that AND joins, in every UNet call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from sdcli.engine.recorders.patching import patch_method
from sdcli.engine.runtime.unet_call import last_rows, sample_of, with_prompt
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
        output = sample_of(original(sample, *args, **kwargs))
        unconditional, conditional = output.chunk(2)
        combined = unconditional + _weight(first, output) * (conditional - unconditional)
        images = len(conditional)
        half, named = (last_rows(value, images, 2 * images) for value in (args, kwargs))
        for other in others:
            changed = with_prompt(named, other.prompt_embeds, other.pooled_prompt_embeds)
            conditional = sample_of(original(sample[images:], *half, **changed))
            combined = combined + _weight(other, output) * (conditional - unconditional)
        return (torch.cat([unconditional, combined]),)

    with patch_method(unet, "forward", forward):
        yield


def _weight(component: Component, output: torch.Tensor) -> torch.Tensor:
    return component.weights.to(output)[:, None, None, None]
