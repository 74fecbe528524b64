"""Repeat the work of a VAE in float32 if its result is defective in half precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch


def run_with_float32_fallback(
    vae: Any,
    work: Callable[[], torch.Tensor],
    find_defect: Callable[[torch.Tensor], str],
    events: list[str],
    *,
    action: str,
) -> tuple[torch.Tensor, str]:
    """Run `work`, and once more with a float32 VAE if its result has a defect.

    `find_defect` returns the defect as an adjective, "" for none. The event of a repetition is
    appended to `events`, with `action` ("decoded") as its verb. Returns the result and the defect
    that it still has.
    """
    result = work()
    defect = find_defect(result)
    if defect and vae.dtype != torch.float32:
        dtype = str(vae.dtype).removeprefix("torch.")
        events.append(f"VAE: {defect} in {dtype}, {action} in float32")
        with float32_vae(vae):
            result = work()
        defect = find_defect(result)
    return result, defect


@contextmanager
def float32_vae(vae: Any) -> Iterator[None]:
    """Convert the VAE to float32 in the `with` block."""
    dtype = vae.dtype
    vae.to(dtype=torch.float32)
    try:
        yield
    finally:
        vae.to(dtype=dtype)
