"""Recorders: observers of a run that change no bit of it.

A recorder is a context manager; `on_step` sees every step, `results` hands over one image's share.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Literal, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray


class Recorder(Protocol):
    """What `generate` needs of a recorder. Leaving it must restore whatever it hooked into."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def on_step(self, step: int, latents: torch.Tensor) -> None:
        """See the latents (batch, 4, height/8, width/8) after `step` steps; step 0 is the noise."""

    def results(self, image: int) -> dict[str, NDArray[Any]]:
        """Named arrays of the batch's n-th image."""


class LatentsRecorder:
    """Copies latents: the last ones as "final"; with "all" also "step_0000", the noise of variance
    1 that Diffusers scales for the scheduler, and "step_0001"… after each step."""

    def __init__(self, which: Literal["final", "all"]) -> None:
        self._which = which
        self._steps: dict[str, torch.Tensor] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing was hooked."""

    def on_step(self, step: int, latents: torch.Tensor) -> None:
        """Copy the step: schedulers may write into their tensors later."""
        copy = latents.detach().to("cpu", copy=True)
        if self._which == "all":
            self._steps[f"step_{step:04d}"] = copy
        self._steps["final"] = copy

    def results(self, image: int) -> dict[str, NDArray[Any]]:
        """Arrays (4, height/8, width/8) by name; bfloat16, which numpy lacks, as float32."""
        return {name: _array(batch[image]) for name, batch in self._steps.items()}


def _array(tensor: torch.Tensor) -> NDArray[Any]:
    wide = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    return np.ascontiguousarray(wide.numpy())
