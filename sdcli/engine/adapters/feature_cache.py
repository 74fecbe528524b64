"""Keep deep features of a UNet from call to call, and compute only its outer blocks in between.

See Ma et al. 2023, "DeepCache: Accelerating Diffusion Models for Free".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from sdcli.engine.recorders.patching import patch_method
from sdcli.full_calls import is_full_call

Position = Callable[[], tuple[int, int]]
"""Returns the number of the current UNet call, from 0, and that of all calls of the run."""

Rows = Callable[[int], int]
"""Returns how many rows of a UNet call are computed, which are the last ones."""


@contextmanager
def cached_features(
    unet: Any, every: int, position: Position, computed_rows: Rows = int
) -> Iterator[None]:
    """Make the UNet compute its deep features only in some calls: `is_full_call` has the rule.

    They are computed anew where the prompt changes or rows are added, too. The others run the
    first block and the last one, into which go the features of the last full call.
    """
    if every == 1:
        yield
        return
    cache = _FeatureCache(unet, every, position, computed_rows)
    hook = unet.up_blocks[-1].register_forward_pre_hook(cache.before_last_block, with_kwargs=True)
    try:
        with patch_method(unet, "forward", cache.forward):
            yield
    finally:
        hook.remove()


class _FeatureCache:
    """The features that entered the last block of a UNet, and the prompts that they are for."""

    def __init__(self, unet: Any, every: int, position: Position, computed_rows: Rows) -> None:
        self._unet = unet
        self._every = every
        self._position = position
        self._computed_rows = computed_rows
        self._kept: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._call = self._part = -1
        self._replacement: torch.Tensor | None = None
        self._entered: torch.Tensor | None = None

    def forward(self, original: Any, sample: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """Call the UNet, or only its outer blocks."""
        call, calls = self._position()
        # Prompts joined by AND take several UNet calls for one step: each has its own features.
        self._part = self._part + 1 if call == self._call else 0
        self._call = call
        prompt = kwargs["encoder_hidden_states"]
        kept = self._kept[self._part] if self._part < len(self._kept) else None
        if (
            kept is None
            or is_full_call(call, calls, self._every)
            or kept[1] is not prompt
            or len(kept[0]) < self._computed_rows(len(sample))
        ):
            output = original(sample, *args, **kwargs)
            assert self._entered is not None
            self._kept[self._part : self._part + 1] = [(self._entered, prompt)]
            return output
        self._replacement = kept[0]
        try:
            with _outer_blocks(self._unet):
                return original(sample, *args, **kwargs)
        finally:
            self._replacement = None

    def before_last_block(
        self, block: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Copy what enters the last block, or replace it: FreeU changes it in place."""
        if self._replacement is None:
            self._entered = kwargs["hidden_states"].clone()
            return None
        # Where guidance keeps its difference, the conditional half is computed alone.
        rows = len(kwargs["hidden_states"])
        return args, {**kwargs, "hidden_states": self._replacement[-rows:].clone()}


@contextmanager
def _outer_blocks(unet: Any) -> Iterator[None]:
    """Leave the UNet only its first and its last block, between which nothing is computed."""
    first, last = unet.down_blocks[0], unet.up_blocks[-1]
    with ExitStack() as stack:
        for owner, name, value in (
            (first, "downsamplers", None),
            (unet, "down_blocks", torch.nn.ModuleList([first])),
            (unet, "mid_block", None),
            (unet, "up_blocks", torch.nn.ModuleList([last])),
        ):
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)
        yield
