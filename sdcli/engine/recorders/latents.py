"""Record the latents of a run: x_t, the predicted x_0, the UNet's outputs and the noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Protocol, Self

import torch
from numpy.typing import NDArray

from sdcli.engine.recorders.host_copy import HostCopier, to_array
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
    """An observer of a run, which changes no bit of it.

    It is a context manager around the run; leaving it restores everything that it patched.
    """

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def on_step(self, step: int, latents: torch.Tensor) -> None:
        """Observe the latents (batch, 4, height/8, width/8) after `step` steps; 0 is the noise."""

    def results(self, image: int) -> dict[str, NDArray[Any]]:
        """Return the named arrays of one image, by its position in the batch."""


class MemorySink:
    """A LatentsSink that keeps the latents in memory, in `arrays`: job index -> name -> array."""

    def __init__(self, selection: LatentsSelection) -> None:
        self.selection = selection
        self.arrays: dict[int, dict[str, NDArray[Any]]] = {}

    def begin_image(self, run: RunInfo) -> None:
        """Discard what an earlier attempt of the same job has written."""
        self.arrays[run.job.index] = {}

    def write(self, index: int, name: str, array: NDArray[Any]) -> None:
        """Keep the array."""
        self.arrays[index][name] = array


class LatentsRecorder:
    """Record the latents that a sink selects, and write them to it as they are computed.

    The UNet's outputs are recorded as they enter `scheduler.step`, after guidance and rescaling.
    The predicted x_0 is computed from them and from the result of `scale_model_input`, which is
    what the UNet receives.
    """

    def __init__(self, sink: LatentsSink, runs: Sequence[RunInfo], scheduler: Any) -> None:
        self._sink = sink
        self._runs = runs
        self._scheduler = scheduler
        self._last_step = len(runs[0].timesteps)
        self._names = frozenset(sink.selection.tensor_names(self._last_step))
        self._stack = ExitStack()
        self._model_input: torch.Tensor | None = None
        self._outputs: dict[str, torch.Tensor] = {}
        self._sigmas: list[float] = []
        self._step = 0
        self._copier = HostCopier(self._deliver)

    def __enter__(self) -> Self:
        for run in self._runs:
            self._sink.begin_image(run)
        if any(name.startswith((X0, MODEL_OUTPUT)) for name in self._names):
            for name, wrapper in (
                ("scale_model_input", self._on_scale_model_input),
                ("step", self._on_scheduler_step),
            ):
                self._stack.enter_context(patch_method(self._scheduler, name, wrapper))
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stack.close()
        # An interrupted run can be resumed from the steps that are complete. After any other
        # error, waiting for the GPU might raise a second one.
        if kind is None or issubclass(kind, KeyboardInterrupt):
            self._copier.finish()

    def on_step(self, step: int, latents: torch.Tensor) -> None:
        """Start copying the selected tensors of the step."""
        self._step = step
        tensors = self._tensors_of_step(step, latents)
        self._copier.start([(name, tensor) for name, tensor in tensors if name in self._names])

    def results(self, image: int) -> dict[str, NDArray[Any]]:
        """Return the image's arrays (4, height/8, width/8) by name, if the sink is in memory."""
        if not isinstance(self._sink, MemorySink):
            return {}
        return self._sink.arrays[self._runs[image].job.index]

    def _tensors_of_step(
        self, step: int, latents: torch.Tensor
    ) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield in the order of `LatentsSelection.tensor_names`, which sinks rely on."""
        if step == 0:
            yield NOISE, latents
            return
        if step < self._last_step:
            yield tensor_name(XT, step), latents
        yield from self._outputs.items()
        if step == self._last_step:
            yield FINAL, latents

    def _on_scale_model_input(self, original: Any, sample: Any, *args: Any, **kwargs: Any) -> Any:
        # A run from an image has the last of the scheduler's steps.
        self._sigmas = self._sigmas or timestep_sigmas(self._scheduler)[-self._last_step :]
        self._model_input = original(sample, *args, **kwargs)
        return self._model_input

    def _on_scheduler_step(
        self, original: Any, model_output: Any, *args: Any, **kwargs: Any
    ) -> Any:
        # Before the step, since a scheduler may write into its arguments.
        self._outputs = dict(self._outputs_of_step(self._step + 1, model_output))
        return original(model_output, *args, **kwargs)

    def _outputs_of_step(
        self, step: int, model_output: torch.Tensor
    ) -> Iterator[tuple[str, torch.Tensor]]:
        name = tensor_name(X0, step)
        if name in self._names and self._model_input is not None:
            # With guidance the UNet's batch is doubled; both halves have the same latents.
            model_input = self._model_input[: len(model_output)]
            sigma = self._sigmas[step - 1]
            prediction_type = self._scheduler.config.prediction_type
            yield name, pred_original_sample(model_output, model_input, sigma, prediction_type)
        name = tensor_name(MODEL_OUTPUT, step)
        if name in self._names:
            yield name, model_output.detach().clone()

    def _deliver(self, name: str, batch: torch.Tensor) -> None:
        for image, run in enumerate(self._runs):
            self._sink.write(run.job.index, name, to_array(batch[image]))
