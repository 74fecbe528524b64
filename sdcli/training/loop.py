"""Train a stage on two workers for a time budget, with checkpoints and exact resume.

The learning rate depends on the elapsed share of the budget, and the random numbers on the seed,
the worker and the step, so that resuming changes neither.
"""

import math
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import ProcessExitedException, spawn

from sdcli.training.optimizer import MuonAdamW

WORKERS = 2
CHECKPOINT_SECONDS = 120.0
REPORT_SECONDS = 30.0
MAX_STEP_SECONDS = 4.0
"""Seconds of the budget that a step can use; a slower one was delayed by other processes."""


def half_precision() -> torch.autocast:
    """Return a context that runs networks in bfloat16 if the processor supports it."""
    # Other processors emulate bfloat16, fifteen times slower than single precision.
    is_supported = bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
    return torch.autocast("cpu", torch.bfloat16, enabled=is_supported)


class StepRandom:
    """The random generators of one step on one worker."""

    def __init__(self, seed: int, rank: int, step: int) -> None:
        self.numpy = np.random.default_rng([seed, rank, step])
        self.torch = torch.Generator().manual_seed(int(self.numpy.integers(2**62)))

    def normal(self, *shape: int) -> Tensor:
        """Return standard normal numbers."""
        return torch.randn(*shape, generator=self.torch)


class Stage(Protocol):
    """A stage of the training: modules, settings of the optimizer, and a loss."""

    name: str
    modules: dict[str, nn.Module]
    muon_lr: float
    adamw_lr: float
    weight_decay: float
    ema_decay: float

    def loss(
        self, random: StepRandom, progress: float, rank: int
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the loss at ``progress`` (0 to 1) of the budget, and figures to print."""
        ...


def schedule(progress: float, step: int, *, warmup: int = 60) -> float:
    """Return the factor of the learning rate: a warm-up in steps, then a cosine down to 1 %."""
    return min(1.0, (step + 1) / warmup) * (
        0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    )


class Run:
    """The state of a stage while it trains on one worker."""

    def __init__(self, stage: Stage, folder: Path, seconds: float, rank: int, world: int) -> None:
        self.stage, self.seconds, self.rank, self.world = stage, seconds, rank, world
        self.file = folder / f"{stage.name}.checkpoint.pt"
        self.parameters = [
            p for m in stage.modules.values() for p in m.parameters() if p.requires_grad
        ]
        named_parameters = [
            (f"{key}.{name}", p)
            for key, module in stage.modules.items()
            for name, p in module.named_parameters()
        ]
        self.optimizer = MuonAdamW(
            named_parameters,
            muon_lr=stage.muon_lr,
            adamw_lr=stage.adamw_lr,
            weight_decay=stage.weight_decay,
            rank=rank,
            world=world,
        )
        self.elapsed, self.step, self.wall = 0.0, 0, 0.0
        self._resume()
        if not self.step:
            self.ema = [p.detach().clone() for p in self.parameters]

    def _resume(self) -> None:
        if not self.file.exists():
            return
        saved = torch.load(self.file, weights_only=True)
        for name, module in self.stage.modules.items():
            module.load_state_dict(saved["modules"][name])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.ema = saved["ema"]
        self.elapsed, self.step, self.wall = saved["elapsed"], saved["step"], saved["wall"]

    def save(self) -> None:
        """Replace the checkpoint atomically."""
        state: dict[str, Any] = {
            "modules": {name: module.state_dict() for name, module in self.stage.modules.items()},
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema,
            "elapsed": self.elapsed,
            "step": self.step,
            "wall": self.wall,
        }
        temporary = self.file.with_suffix(".part")
        torch.save(state, temporary)
        os.replace(temporary, self.file)

    def advance(self, seed: int) -> dict[str, float]:
        """Do one step, together with the other workers, and return figures to print."""
        started = time.monotonic()
        random = StepRandom(seed, self.rank, self.step)
        loss, figures = self.stage.loss(random, self.elapsed / self.seconds, self.rank)
        loss.backward()  # type: ignore[no-untyped-call]
        self._average_gradients()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        # A step with an overflow is skipped.
        if torch.isfinite(norm):
            self.optimizer.step(schedule(self.elapsed / self.seconds, self.step))
        for p in self.parameters:
            p.grad = None
        self._update_ema()
        self.step += 1
        seconds = torch.tensor(time.monotonic() - started)
        # The workers must agree on the schedule and on the last step.
        if self.world > 1:
            dist.broadcast(seconds, 0)
        self.wall += seconds.item()
        self.elapsed += min(seconds.item(), MAX_STEP_SECONDS)
        return {"loss": loss.item(), "norm": norm.item(), **figures}

    def _average_gradients(self) -> None:
        if self.world == 1:
            return
        # One message for all gradients is much faster than one for each.
        flat = torch.cat([p.grad.reshape(-1) for p in self.parameters if p.grad is not None])
        dist.all_reduce(flat)
        flat /= self.world
        start = 0
        for p in self.parameters:
            if p.grad is not None:
                p.grad = flat[start : start + p.numel()].view_as(p)
                start += p.numel()

    @torch.no_grad()
    def _update_ema(self) -> None:
        # A shorter average in the first steps, so that the initial weights fade.
        decay = min(self.stage.ema_decay, (self.step + 1) / (self.step + 10))
        torch._foreach_lerp_(self.ema, [p.detach() for p in self.parameters], 1 - decay)

    @torch.no_grad()
    def finish(self) -> None:
        """Replace the weights with their moving average, which is the result of the stage."""
        for p, average in zip(self.parameters, self.ema, strict=True):
            p.copy_(average)


def pin_worker(rank: int) -> None:
    """Limit the worker to one thread on a core that no other worker uses.

    Workers wait for each other in every step, so two of them on one core would be slow.
    """
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[rank % len(cores)]})


def _train_on_worker(
    rank: int,
    world: int,
    rendezvous: str,
    build_stage: Callable[[Path], Stage],
    folder: Path,
    seconds: float,
    seed: int,
) -> None:
    if world > 1:
        pin_worker(rank)
        dist.init_process_group(
            "gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=world
        )
    torch.manual_seed(seed)
    run = Run(build_stage(folder), folder, seconds, rank, world)
    _run_until(run, seconds, seed)
    if rank == 0:
        _save_result(run, folder)
    if world > 1:
        dist.barrier()
        dist.destroy_process_group()


def _run_until(run: Run, seconds: float, seed: int) -> None:
    """Do steps until the budget is used. The first worker prints figures and saves checkpoints."""
    saved = reported = time.monotonic()
    while run.elapsed < seconds:
        figures = run.advance(seed)
        now = time.monotonic()
        if run.rank == 0 and (now - reported > REPORT_SECONDS or run.step < 3):
            reported = now
            text = "  ".join(f"{key} {value:.4f}" for key, value in figures.items())
            print(
                f"{run.stage.name}  {run.elapsed:6.0f}/{seconds:.0f} s  step {run.step}  {text}",
                flush=True,
            )
        if run.rank == 0 and now - saved > CHECKPOINT_SECONDS:
            saved = now
            run.save()


def _save_result(run: Run, folder: Path) -> None:
    run.save()
    run.finish()
    torch.save(
        {name: module.state_dict() for name, module in run.stage.modules.items()},
        result_file(folder, run.stage.name),
    )
    print(
        f"{run.stage.name}: {run.step} steps in {run.elapsed:.0f} s, wall time {run.wall:.0f} s",
        flush=True,
    )


def result_file(folder: Path, name: str) -> Path:
    """Return the file with the trained weights of a stage."""
    return folder / f"{name}.pt"


def train(
    name: str,
    build_stage: Callable[[Path], Stage],
    folder: Path,
    *,
    seconds: float,
    seed: int,
    workers: int = WORKERS,
) -> None:
    """Train the stage that ``build_stage(folder)`` returns, or resume it.

    A finished stage is skipped.
    """
    if result_file(folder, name).exists():
        print(f"{name}: already trained", flush=True)
        return
    with tempfile.TemporaryDirectory() as temporary:
        arguments = (workers, f"{temporary}/rendezvous", build_stage, folder, seconds, seed)
        if workers == 1:
            _train_on_worker(0, *arguments)
            return
        try:
            spawn(_train_on_worker, arguments, nprocs=workers)  # type: ignore[no-untyped-call]
        except ProcessExitedException:
            # gloo may abort the worker that exits last, when everything is finished.
            if not result_file(folder, name).exists():
                raise
