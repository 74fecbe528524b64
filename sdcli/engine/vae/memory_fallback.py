"""A VAE short of memory: the same work one image at a time, in tiles, on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import ConsistencyDecoderVAE

from sdcli.engine.runtime import memory
from sdcli.errors import DeviceError, ModelError

TILE = 256
"""Side of a tile in pixels: the VAE's own (its training size) would leave most images whole."""

OVERLAP = 0.25
"""How much of a tile is blended into its neighbours."""

Generators = Sequence[torch.Generator] | None
Work = Callable[[torch.Tensor, Generators], torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class _Fallback:
    event: str = ""
    sliced: bool = False
    tiled: bool = False
    on_cpu: bool = False


def run_with_memory_fallback(
    vae: Any,
    batch: torch.Tensor,
    work: Work,
    events: list[str],
    *,
    tiling: str = "auto",
    generators: Generators = None,
) -> torch.Tensor:
    """`work` on the batch, on the first rung that memory allows; `events` tells the rungs taken.

    `tiling` on starts in tiles, off never takes them. Each rung finds the generators as they were.
    Raises DeviceError when the last rung does not help, ModelError for a VAE that has no tiles.
    """
    states = [generator.get_state() for generator in generators or ()]
    for rung in _fallbacks(vae, len(batch), tiling):
        if rung.event:
            events.append(f"VAE: out of memory, {rung.event}")
            memory.empty_cache()
        for generator, state in zip(generators or (), states, strict=True):
            generator.set_state(state)
        try:
            with _on(vae, rung):
                return _sliced(work, batch, generators) if rung.sliced else work(batch, generators)
        except RuntimeError as error:
            if not memory.is_out_of_memory(error):
                raise
    raise DeviceError(
        "VAE: out of memory, whatever was tried",
        code="device.memory",
        hint="use a smaller --size, --vae tiny, or --device cpu",
    )


def _fallbacks(vae: Any, images: int, tiling: str) -> Iterator[_Fallback]:
    can_tile = not isinstance(vae, ConsistencyDecoderVAE)
    if tiling == "on" and not can_tile:
        raise ModelError(
            f"VAE: {type(vae).__name__} cannot work in tiles",
            code="model.vae",
            hint="leave --vae-tiling out",
        )
    always = tiling == "on"
    yield _Fallback(tiled=always)
    if images > 1:
        yield _Fallback(event="one image at a time", sliced=True, tiled=always)
    tiled = can_tile and tiling != "off"
    if tiled and not always:
        yield _Fallback(event="in tiles (seams may differ)", sliced=True, tiled=True)
    if can_move_to_cpu(vae):
        yield _Fallback(event="on the CPU, in float32", sliced=True, tiled=tiled, on_cpu=True)


def can_move_to_cpu(vae: Any) -> bool:
    """Whether the VAE is not on the CPU already."""
    return bool(vae.device.type != "cpu")


@contextmanager
def _on(vae: Any, rung: _Fallback) -> Iterator[None]:
    """The VAE as the rung wants it, and afterwards as it was."""
    device, dtype = vae.device, vae.dtype
    try:
        if rung.tiled:
            _enable_tiling(vae)
        if rung.on_cpu:
            vae.to(device="cpu", dtype=torch.float32)
        yield
    finally:
        if rung.on_cpu:
            vae.to(device=device, dtype=dtype)
        vae.disable_tiling()


def _sliced(work: Work, batch: torch.Tensor, generators: Generators) -> torch.Tensor:
    """One image at a time, the results gathered on the CPU, which has room for them."""
    pieces = []
    for image in range(len(batch)):
        own = None if generators is None else [generators[image]]
        pieces.append(work(batch[image : image + 1], own).cpu())
    return torch.cat(pieces)


def _enable_tiling(vae: Any) -> None:
    vae.enable_tiling()
    scale = 2 ** (len(vae.config.block_out_channels) - 1)
    vae.tile_sample_min_size = TILE
    vae.tile_latent_min_size = TILE // scale
    vae.tile_overlap_factor = OVERLAP


@contextmanager
def float32_vae(vae: Any) -> Iterator[None]:
    """The VAE in full precision for a while."""
    dtype = vae.dtype
    vae.to(dtype=torch.float32)
    try:
        yield
    finally:
        vae.to(dtype=dtype)
