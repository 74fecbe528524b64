"""Observe the attention layers of a UNet through forward hooks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch.utils.hooks import RemovableHandle

from sdcli.errors import ModelError, UsageError

_KINDS = {"attn1": "self", "attn2": "cross"}
"""Names of the attention modules in the transformer blocks of a UNet."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AttentionCall:
    """One call of an attention layer, for the images of the conditional half of the batch.

    `query` is (images, heads, patches, width) and `key` (images, heads, tokens, width); in
    self-attention the tokens are the patches. `grid` is the height and width of the patches.
    """

    call: int
    layer: str
    kind: str
    query: torch.Tensor
    key: torch.Tensor
    scale: float
    mask: torch.Tensor | None
    grid: tuple[int, int]

    def probabilities(self) -> torch.Tensor:
        """Compute the probabilities (images, heads, tokens, height, width)."""
        rows = self._softmax(self.query).transpose(-1, -2)
        return rows.reshape(*rows.shape[:-1], *self.grid)

    def patch_probabilities(self, x: float, y: float) -> torch.Tensor:
        """Compute self-attention (images, heads, height, width) of the patch at x, y (0 to 1)."""
        height, width = self.grid
        row, column = min(int(y * height), height - 1), min(int(x * width), width - 1)
        patch = row * width + column
        row_of_patch = self._softmax(self.query[:, :, patch : patch + 1])[:, :, 0]
        return row_of_patch.reshape(*row_of_patch.shape[:-1], *self.grid)

    def _softmax(self, query: torch.Tensor) -> torch.Tensor:
        # In float32, whatever the model computes in.
        scores = (query.float() * self.scale) @ self.key.float().transpose(-1, -2)
        if self.mask is not None:
            scores = scores + self.mask.float().unsqueeze(1)
        return scores.softmax(-1)


Observe = Callable[[AttentionCall], None]


@dataclass(eq=False)
class AttentionTap:
    """Pass the attention of a UNet's calls to `observe`; a context manager around the run.

    Nothing of the run is replaced, so that every processor of Diffusers keeps working: the hooks
    keep the queries and keys that the run itself computes, and the softmax is computed once more.
    `images` is the number of the last rows of the batch that have the prompt. `first_call` counts
    the UNet calls before this one's first.

    Raises UsageError on entering if the UNet is compiled, and ModelError on leaving if a layer was
    not called as often as the UNet: both would leave maps out without an error.
    """

    unet: Any
    observe: Observe
    images: int = 1
    first_call: int = 0
    prefix: str = ""
    self_attention: bool = False
    calls: Counter[str] = field(default_factory=Counter)
    unet_calls: int = 0
    _stack: ExitStack = field(default_factory=ExitStack)
    _held: dict[tuple[str, str], torch.Tensor] = field(default_factory=dict)
    _size: tuple[int, int] = (0, 0)

    def __enter__(self) -> Self:
        check_not_compiled(self.unet)
        # The UNet is cached: if one hook fails, none may stay.
        with ExitStack() as entered:
            for handle in self._register():
                entered.callback(handle.remove)
            self._stack = entered.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stack.close()
        self._held.clear()
        if kind is not None:
            return
        names = [self.prefix + name for name, _, _ in self._layers()]
        missed = [name for name in names if self.calls[name] != self.unet_calls]
        if missed or not names:
            raise ModelError(
                f"attention: {len(missed)} of {len(names)} layers could not be observed"
                if names
                else "attention: this UNet has no cross-attention layers",
                code="attention.missing",
                hint="run the model without torch.compile" if names else None,
            )

    def layer_names(self) -> list[str]:
        """Return the names of the cross-attention layers, in the order of the UNet's modules."""
        return [self.prefix + name for name, kind, _ in self._layers() if kind == "cross"]

    def _layers(self) -> Iterator[tuple[str, str, Any]]:
        for name, module in self.unet.named_modules():
            kind = _KINDS.get(name.rpartition(".")[2])
            if kind == "cross" or (kind and self.self_attention):
                yield name, kind, module

    def _register(self) -> Iterator[RemovableHandle]:
        yield self.unet.register_forward_pre_hook(self._begin, with_kwargs=True)
        for name, kind, module in self._layers():
            for part in ("to_q", "to_k"):
                yield getattr(module, part).register_forward_hook(self._hold(name, part))
            finish = self._finish(self.prefix + name, kind, name)
            yield module.register_forward_hook(finish, with_kwargs=True)

    def _begin(self, unet: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        sample = args[0] if args else kwargs["sample"]
        self.unet_calls += 1
        self._size = tuple(sample.shape[-2:])

    def _hold(self, name: str, part: str) -> Callable[..., None]:
        def hook(module: Any, args: Any, output: torch.Tensor) -> None:
            self._held[name, part] = output

        return hook

    def _finish(self, layer: str, kind: str, name: str) -> Callable[..., None]:
        @torch.no_grad()
        def hook(attention: Any, args: tuple[Any, ...], kwargs: dict[str, Any], _: Any) -> None:
            self.calls[layer] += 1
            hidden = args[0] if args else kwargs["hidden_states"]
            text = kwargs.get("encoder_hidden_states")
            # Fused projections call neither; the weights that they were made of are still there.
            query = self._take(name, "to_q", attention.to_q, hidden)
            key = self._take(name, "to_k", attention.to_k, hidden if text is None else text)
            mask = kwargs.get("attention_mask")
            self.observe(
                AttentionCall(
                    call=self.first_call + self.unet_calls,
                    layer=layer,
                    kind=kind,
                    query=self._split(query, attention.heads, attention.norm_q),
                    key=self._split(key, attention.heads, attention.norm_k),
                    scale=attention.scale,
                    mask=None if mask is None or mask.ndim != 3 else mask[-self.images :],
                    grid=patch_grid(query.shape[1], *self._size),
                )
            )

        return hook

    def _take(self, name: str, part: str, layer: Any, states: torch.Tensor) -> torch.Tensor:
        held = self._held.pop((name, part), None)
        if held is not None:
            return held
        output: torch.Tensor = layer(states)
        self._held.pop((name, part))
        return output

    def _split(self, states: torch.Tensor, heads: int, norm: Any) -> torch.Tensor:
        rows = states[-self.images :]
        split = rows.reshape(*rows.shape[:2], heads, -1).transpose(1, 2)
        normed: torch.Tensor = split if norm is None else norm(split)
        return normed


def patch_grid(patches: int, height: int, width: int) -> tuple[int, int]:
    """Return the height and width of a layer's patches, for latents of a height and width.

    UNets halve the size with rounding up.
    """
    while height * width > patches:
        height, width = -(-height // 2), -(-width // 2)
    if height * width != patches:
        raise ModelError(
            f"attention: a layer has {patches} patches, which is no halving of the latents",
            code="attention.grid",
        )
    return height, width


def check_not_compiled(unet: Any) -> None:
    """Raise UsageError for a compiled UNet, whose hooks may never be called."""
    for module in (unet, *unet.modules()):
        if getattr(module, "_compiled_call_impl", None) or hasattr(module, "_orig_mod"):
            raise UsageError(
                "attention: the UNet is compiled, and a compiled UNet does not show its attention",
                code="attention.compiled",
                hint="load the model without torch.compile",
            )
