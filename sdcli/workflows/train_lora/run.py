"""Run a training to its end, with checkpoints from which it can be continued."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sdcli.errors import Interrupted, NumericsError, SdcliError
from sdcli.fields.lora import LoraUse, format_loras
from sdcli.prompts.sources import IterableSource
from sdcli.result import JobFailure
from sdcli.runner.interrupts import InterruptHandler
from sdcli.runner.pipeline_cache import PipelineCache, engine_lock
from sdcli.workflows.train_lora import loss as loss_plots
from sdcli.workflows.train_lora.checkpoint import write_arrays
from sdcli.workflows.train_lora.plan import TrainingPlan

if TYPE_CHECKING:
    from sdcli.engine.lora_training.trainer import LoraTrainer


@dataclass(frozen=True, kw_only=True)
class TrainingCallbacks:
    """What is called when the training begins, after each step with its loss, and with warnings."""

    on_start: Callable[[], None] = lambda: None
    on_step: Callable[[float], None] = lambda loss: None
    warn: Callable[[str], None] = lambda text: None
    on_deferred: Callable[[], None] = lambda: None


@dataclass(frozen=True, kw_only=True)
class TrainedLora:
    """A LoRA, and what was written beside it. `first_step` steps were done by an earlier run."""

    path: Path
    plot: Path
    samples: tuple[Path, ...]
    losses: tuple[float, ...]
    first_step: int
    seconds: float


def train_lora(plan: TrainingPlan, callbacks: TrainingCallbacks) -> TrainedLora:
    """Train the LoRA of a plan and write it.

    Ctrl-C waits for the end of a step, and saves a checkpoint. Raises Interrupted, NumericsError
    for a loss that is not finite, OutputError, and the errors of loading a model.
    """
    interrupts = InterruptHandler(callbacks.on_deferred)
    run = _Run(plan, callbacks, interrupts)
    with interrupts.handling():
        try:
            return run.finish()
        except KeyboardInterrupt:
            # Without a trainer, nothing was trained that could be lost.
            if run.trainer is None:
                raise
            raise run.stop() from None


@dataclass
class _Run:
    plan: TrainingPlan
    callbacks: TrainingCallbacks
    interrupts: InterruptHandler
    trainer: LoraTrainer | None = None
    samples: list[Path] = field(default_factory=list)
    _saved_step: int = 0
    _is_written: bool = False
    # The UNet that it holds is a changed one, so no other run may use it.
    _cache: PipelineCache = field(default_factory=PipelineCache)

    def finish(self) -> TrainedLora:
        """Train from the checkpoint, or from the start, to the end."""
        trainer = self.trainer = self._load()
        started, request = time.monotonic(), self.plan.request
        self.callbacks.on_start()
        while trainer.step < request.flags.steps:
            self._advance(trainer)
            if trainer.step % request.save_every == 0 and trainer.step < request.flags.steps:
                self._save(trainer)
                self._draw(trainer, self.plan.folder.lora_file(trainer.step))
        return self._write(trainer, started)

    def _load(self) -> LoraTrainer:
        plan, folder = self.plan, self.plan.folder
        with self._cache.load(plan.request.spec, self.callbacks.warn) as loaded:
            from sdcli.engine.lora_training.examples import encode_examples
            from sdcli.engine.lora_training.trainer import LoraTrainer

            images = plan.dataset.images
            examples = encode_examples(loaded, images, plan.jobs, self.callbacks.warn)
            trainer = LoraTrainer(loaded, examples, plan.settings)
        if plan.request.restart:
            # Not before: until here the new training could still fail.
            folder.clear()
        if not plan.first_step:
            return trainer
        try:
            trainer.restore(folder.load())
        except (KeyError, RuntimeError) as error:
            raise folder.corrupt_error() from error
        self._saved_step = trainer.step
        return trainer

    def _advance(self, trainer: LoraTrainer) -> None:
        # Half of a step would leave some of the weights behind the others.
        with engine_lock(), self.interrupts.deferred():
            loss = trainer.advance()
        if not math.isfinite(loss):
            raise self._numerics_error(f"the loss is not a number in step {trainer.step + 1}")
        self.callbacks.on_step(loss)
        self.interrupts.raise_if_interrupted()

    def _numerics_error(self, problem: str) -> NumericsError:
        kept = f"the checkpoint of step {self._saved_step} is kept; " if self._saved_step else ""
        return NumericsError(
            problem,
            code="numerics.loss",
            hint=f"{kept}try --restart with a lower --lr than "
            f"{self.plan.settings.learning_rate:g}, or --dtype float32",
        )

    def _save(self, trainer: LoraTrainer) -> None:
        step, lora = trainer.step, self._finite_lora(trainer)
        # The state first: on a full disk it is worth more than the LoRA.
        self.plan.folder.save(step, trainer.state())
        self._saved_step = step
        self.plan.folder.save_lora(step, lora, self.plan.metadata(step))
        loss_plots.plot_losses(loss_plots.plot_path(self.plan.request.out), trainer.losses)

    def _finite_lora(self, trainer: LoraTrainer) -> dict[str, NDArray[Any]]:
        """Return the tensors of the LoRA. Raises NumericsError if they are not numbers."""
        lora = trainer.lora()
        # A finite loss can have gradients that are not.
        if not all(np.isfinite(array).all() for array in lora.values()):
            raise self._numerics_error(f"the LoRA is not finite after step {trainer.step}")
        return lora

    def _write(self, trainer: LoraTrainer, started: float) -> TrainedLora:
        plan, out, lora = self.plan, self.plan.request.out, self._finite_lora(trainer)
        plan.folder.save(trainer.step, trainer.state())
        self._saved_step = trainer.step
        write_arrays(out, lora, plan.metadata(trainer.step), force=plan.request.force)
        self._is_written = True
        plot = loss_plots.plot_path(out)
        loss_plots.plot_losses(plot, trainer.losses)
        self._draw(trainer, out)
        return TrainedLora(
            path=out,
            plot=plot,
            samples=tuple(self.samples),
            losses=tuple(trainer.losses),
            first_step=plan.first_step,
            seconds=time.monotonic() - started,
        )

    def stop(self) -> Interrupted:
        """Save a checkpoint, unless a step was broken off, and return the error that says so."""
        trainer, steps = self.trainer, self.plan.request.flags.steps
        assert trainer is not None
        if self._is_written:
            text = f"interrupted: {self.plan.request.out} is complete, but not all of its samples"
            return Interrupted(text, code="interrupted")
        if not trainer.is_advancing and trainer.step > self._saved_step:
            self.plan.folder.save(trainer.step, trainer.state())
            self._saved_step = trainer.step
        if not self._saved_step:
            return Interrupted("interrupted before the first checkpoint", code="interrupted")
        return Interrupted(
            f"interrupted: {self._saved_step} of {steps} steps are in the checkpoint",
            code="interrupted",
            hint="run the same command again to continue",
        )

    def _draw(self, trainer: LoraTrainer, lora: Path) -> None:
        """Draw the samples with a LoRA, as `sdcli generate` does with its file."""
        with trainer.without_lora():
            for number, outcome in enumerate(self._outcomes(lora), 1):
                if isinstance(outcome, JobFailure):
                    self.callbacks.warn(f"sample {number}: {outcome.error}")
                else:
                    name = f"step-{trainer.step:06d}-{number}.png"
                    self.samples.append(self._write_sample(outcome, name))

    def _outcomes(self, lora: Path) -> Iterator[Any]:
        from sdcli.runner.loop import iter_results

        text = format_loras([LoraUse(name=str(lora))])
        try:
            yield from iter_results(
                IterableSource([replace(sample, lora=text) for sample in self.plan.samples]),
                cache=self._cache,
                interrupts=self.interrupts,
            )
        except SdcliError as error:
            # The training is worth more than its pictures.
            self.callbacks.warn(f"no samples: {error.message}")

    def _write_sample(self, result: Any, name: str) -> Path:
        from sdcli.storage.images.destination import Destination
        from sdcli.storage.images.writer import write_image
        from sdcli.versions import library_versions

        path = self.plan.folder.path / name
        destination = Destination(kind="file", path=path, force=True)
        write_image(result, destination, versions=library_versions())
        return path
