"""Run a VAE that is short of memory: one image at a time, alone, in tiles, then on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import ConsistencyDecoderVAE

from sdcli.engine.runtime import memory
from sdcli.engine.runtime.diffusers_internals import enable_tiling
from sdcli.errors import DeviceError, ModelError

TILE = 256
"""Side of a tile in pixels. The default of Diffusers, the size that the VAE was trained at, would
leave most images in one tile."""

OVERLAP = 0.25
"""Part of a tile that is blended into its neighbours."""

Generators = Sequence[torch.Generator] | None
"""One random generator per image, for a VAE that draws noise."""

Work = Callable[[torch.Tensor, Generators], torch.Tensor]
"""A function of a batch and its generators, which runs the VAE."""


MakeRoom = Callable[[], str | None]
"""Moves other networks off the device; returns a sentence, or None if there is nothing to move."""


@dataclass(frozen=True, kw_only=True)
class _Fallback:
    """A way to run the VAE. `event` describes it, and is empty for the first attempt.

    One that is `alone` needs other networks to leave the device first.
    """

    event: str = ""
    alone: bool = False
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
    make_room: MakeRoom | None = None,
) -> torch.Tensor:
    """Run `work` on the batch, in the first way that fits into memory.

    `tiling` is `auto`, `on` (start in tiles) or `off` (never use tiles). `make_room`
    is called when a single image does not fit. A sentence for each fallback is appended to
    `events`. Raises DeviceError if none of them fits, ModelError for `tiling="on"` with a VAE that
    has no tiling.
    """
    states = [generator.get_state() for generator in generators or ()]
    for fallback in _fallbacks(vae, len(batch), tiling):
        event = fallback.event
        if fallback.alone and not (event := (make_room and make_room()) or ""):
            continue
        if event:
            events.append(f"VAE: out of memory, {event}")
            memory.empty_cache()
        # A failed attempt has drawn from the generators.
        for generator, state in zip(generators or (), states, strict=True):
            generator.set_state(state)
        try:
            with _prepared(vae, fallback):
                if fallback.sliced:
                    return _run_sliced(work, batch, generators)
                return work(batch, generators)
        except RuntimeError as error:
            if not memory.is_out_of_memory(error):
                raise
    raise DeviceError(
        "VAE: out of memory, even with every fallback",
        code="device.memory",
        hint="use a smaller --size, --vae tiny, or --device cpu",
    )


def _fallbacks(vae: Any, images: int, tiling: str) -> Iterator[_Fallback]:
    if tiling == "on" and not can_tile(vae):
        raise ModelError(
            f"VAE: {type(vae).__name__} does not support tiling",
            code="model.vae",
            hint="leave --vae-tiling out",
        )
    always = tiling == "on"
    yield _Fallback(tiled=always)
    if images > 1:
        yield _Fallback(event="one image at a time", sliced=True, tiled=always)
    yield _Fallback(alone=True, sliced=True, tiled=always)
    tiled = can_tile(vae) and tiling != "off"
    if tiled and not always:
        yield _Fallback(event="in tiles (seams may differ)", sliced=True, tiled=True)
    if can_move_to_cpu(vae):
        yield _Fallback(event="on the CPU, in float32", sliced=True, tiled=tiled, on_cpu=True)


def can_tile(vae: Any) -> bool:
    """Return whether the VAE supports tiling."""
    return not isinstance(vae, ConsistencyDecoderVAE)


def can_move_to_cpu(vae: Any) -> bool:
    """Return whether the VAE is on another device than the CPU."""
    return bool(vae.device.type != "cpu")


@contextmanager
def _prepared(vae: Any, fallback: _Fallback) -> Iterator[None]:
    """Set the VAE up for the fallback in the `with` block, and restore it afterwards."""
    device, dtype = vae.device, vae.dtype
    try:
        if fallback.tiled:
            enable_tiling(vae, TILE, OVERLAP)
        if fallback.on_cpu:
            vae.to(device="cpu", dtype=torch.float32)
        yield
    finally:
        if fallback.on_cpu:
            vae.to(device=device, dtype=dtype)
        vae.disable_tiling()


def _run_sliced(work: Work, batch: torch.Tensor, generators: Generators) -> torch.Tensor:
    # Not the VAE's own slicing: that keeps all results on the device, which is short of memory.
    slices = []
    for image in range(len(batch)):
        image_generators = None if generators is None else [generators[image]]
        slices.append(work(batch[image : image + 1], image_generators).cpu())
    return torch.cat(slices)
