"""Keep the difference that guidance makes from UNet call to call, and compute only half a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from sdcli.engine.recorders.patching import patch_method
from sdcli.engine.runtime.unet_call import last_rows, sample_of


@contextmanager
def kept_guidance(unet: Any, images: int, keeps: Callable[[], bool]) -> Iterator[None]:
    """Make guided UNet calls of so many images compute their conditional half only, where `keeps`.

    Their unconditional output is the conditional one minus the difference of the two in the last
    call that computed both.
    """
    difference: torch.Tensor | None = None

    def forward(original: Any, sample: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        nonlocal difference
        # Other prompts of AND, and recorders, call the UNet for the conditional half alone.
        if len(sample) != 2 * images:
            return original(sample, *args, **kwargs)
        if difference is None or not keeps():
            output = sample_of(original(sample, *args, **kwargs))
            unconditional, conditional = output.chunk(2)
            difference = conditional - unconditional
            return (output,)
        half, named = (last_rows(value, images, 2 * images) for value in (args, kwargs))
        conditional = sample_of(original(sample[images:], *half, **named))
        return (torch.cat([conditional - difference, conditional]),)

    with patch_method(unet, "forward", forward):
        yield
