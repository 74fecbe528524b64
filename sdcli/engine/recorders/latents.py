"""Recorders: observers of a run that change no bit of it.

A recorder is a context manager; `on_step` sees every step, `results` hands over one image's share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray

from sdcli.engine.recorders.patching import patch_method
from sdcli.engine.schedulers.noise_levels import pred_original_sample, timestep_sigmas
from sdcli.latents import (
    FINAL,
    MODEL_OUTPUT,
    NOISE,
    X0,
    XT,
    LatentsSelection,
    LatentsSink,
    tensor_name,
)
from sdcli.result import RunInfo


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


class MemorySink:
    """Keeps the latents of a few images in memory, by job."""

    def __init__(self, wanted: LatentsSelection) -> None:
        self.selection = wanted
        self.arrays: dict[int, dict[str, NDArray[Any]]] = {}

    def begin_image(self, course: RunInfo) -> None:
        """Forget what was taken of this image before."""
        self.arrays[course.job.index] = {}

    def write(self, index: int, name: str, array: NDArray[Any]) -> None:
        """Keep the array."""
        self.arrays[index][name] = array


class LatentsRecorder:
    """Hands to a sink what it wants of x_t, the predicted x_0, the UNet's outputs and the noise.

    The outputs are read where they enter `scheduler.step`, guided and rescaled; what the UNet saw
    where it leaves `scale_model_input`.
    """

    def __init__(self, sink: LatentsSink, courses: Sequence[RunInfo], scheduler: Any) -> None:
        self._sink = sink
        self._runs = courses
        self._scheduler = scheduler
        self._last = len(courses[0].timesteps)
        self._names = frozenset(sink.selection.tensor_names(self._last))
        self._stack = ExitStack()
        self._model_input: torch.Tensor | None = None
        self._outputs: dict[str, torch.Tensor] = {}
        self._levels: list[float] = []
        self._step = 0
        self._copies = _Copies(self._deliver)

    def __enter__(self) -> Self:
        for course in self._runs:
            self._sink.begin_image(course)
        if any(name.startswith((X0, MODEL_OUTPUT)) for name in self._names):
            self._stack.enter_context(
                patch_method(self._scheduler, "scale_model_input", self._on_scale_model_input)
            )
            self._stack.enter_context(
                patch_method(self._scheduler, "step", self._on_scheduler_step)
            )
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stack.close()
        if kind is None or issubclass(kind, KeyboardInterrupt):
            self._copies.finish()

    def on_step(self, step: int, latents: torch.Tensor) -> None:
        """Copy what is wanted of the step: schedulers may write into their tensors later."""
        self._step = step
        copies = [(name, tensor) for name, tensor in self._of(step, latents) if name in self._names]
        self._copies.start(copies)

    def results(self, image: int) -> dict[str, NDArray[Any]]:
        """Arrays (4, height/8, width/8) by name, if the sink kept them in memory."""
        if not isinstance(self._sink, MemorySink):
            return {}
        return self._sink.arrays[self._runs[image].job.index]

    def _of(self, step: int, latents: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
        if step == 0:
            yield NOISE, latents
            return
        if step < self._last:
            yield tensor_name(XT, step), latents
        yield from self._outputs.items()
        if step == self._last:
            yield FINAL, latents

    def _on_scale_model_input(self, original: Any, sample: Any, *args: Any, **kwargs: Any) -> Any:
        self._levels = self._levels or timestep_sigmas(self._scheduler)
        self._model_input = original(sample, *args, **kwargs)
        return self._model_input

    def _on_scheduler_step(
        self, original: Any, model_output: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Before the step: a scheduler may write into what it is given."""
        step = self._step + 1
        self._outputs = {}
        if (name := tensor_name(X0, step)) in self._names and self._model_input is not None:
            kind = self._scheduler.config.prediction_type
            seen = self._model_input[: len(model_output)]  # with guidance it was there twice
            self._outputs[name] = pred_original_sample(
                model_output, seen, self._levels[step - 1], kind
            )
        if (name := tensor_name(MODEL_OUTPUT, step)) in self._names:
            self._outputs[name] = model_output.detach().clone()
        return original(model_output, *args, **kwargs)

    def _deliver(self, name: str, batch: torch.Tensor) -> None:
        for image, course in enumerate(self._runs):
            self._sink.write(course.job.index, name, _array(batch[image]))


class _Copies:
    """Tensors on their way to the CPU. On CUDA they travel beside the next step's work."""

    def __init__(self, hand: Callable[[str, torch.Tensor], None]) -> None:
        self._hand = hand
        self._travelling: list[tuple[str, torch.Tensor]] = []
        self._arrived: Any = None

    def start(self, tensors: Sequence[tuple[str, torch.Tensor]]) -> None:
        self.finish()
        self._travelling = [(name, _copy(tensor)) for name, tensor in tensors]
        if any(tensor.is_cuda for _, tensor in tensors):
            self._arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._arrived.record()
        else:
            self.finish()

    def finish(self) -> None:
        if self._arrived is not None:
            self._arrived.synchronize()
            self._arrived = None
        travelling, self._travelling = self._travelling, []
        for name, tensor in travelling:
            self._hand(name, tensor)


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    if not tensor.is_cuda:
        return tensor.detach().to("cpu", copy=True)
    pinned = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return pinned.copy_(tensor.detach(), non_blocking=True)


def _array(tensor: torch.Tensor) -> NDArray[Any]:
    """The tensor for numpy; bfloat16, which numpy lacks, as float32, which holds it exactly."""
    wide = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    return np.ascontiguousarray(wide.numpy())
