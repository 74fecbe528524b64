"""The training loop under every stage: two workers, a time budget, checkpoints, exact resume.

A stage's schedule is a function of its elapsed budget, and its randomness of (seed, worker, step):
stopping and starting again changes neither.
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
SLOWEST_STEP = 4.0  # a slower step was held up by something else, and is charged no more


def half_precision() -> torch.autocast:
    """Run the networks in bfloat16 where the processor has it: twice as fast; else change nothing.

    Processors without the instructions emulate it, fifteen times slower than single precision.
    """
    able = bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
    return torch.autocast("cpu", torch.bfloat16, enabled=able)


class StepRandom:
    """The randomness of one step of one worker."""

    def __init__(self, seed: int, rank: int, step: int) -> None:
        self.numpy = np.random.default_rng([seed, rank, step])
        self.torch = torch.Generator().manual_seed(int(self.numpy.integers(2**62)))

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers."""
        return torch.randn(*shape, generator=self.torch)


class Stage(Protocol):
    """What a stage brings: modules to train and a loss."""

    name: str
    modules: dict[str, nn.Module]
    muon_lr: float
    adamw_lr: float
    weight_decay: float
    ema_decay: float

    def loss(self, draw: StepRandom, progress: float, rank: int) -> tuple[Tensor, dict[str, float]]:
        """The loss of one batch at ``progress`` (0…1) of the budget, and figures to print."""
        ...


def schedule(progress: float, step: int, *, warmup: int = 60) -> float:
    """Warm-up by steps, then a cosine over the budget down to 1 %."""
    return min(1.0, (step + 1) / warmup) * (
        0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    )


class Run:
    """A stage's state while it trains on one worker."""

    def __init__(self, stage: Stage, folder: Path, seconds: float, rank: int, world: int) -> None:
        self.stage, self.seconds, self.rank, self.world = stage, seconds, rank, world
        self.file = folder / f"{stage.name}.checkpoint.pt"
        self.parameters = [
            p for m in stage.modules.values() for p in m.parameters() if p.requires_grad
        ]
        named = [(f"{k}.{n}", p) for k, m in stage.modules.items() for n, p in m.named_parameters()]
        self.optimizer = MuonAdamW(
            named,
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
        """Write the checkpoint atomically."""
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
        """One step on all workers."""
        started = time.monotonic()
        draw = StepRandom(seed, self.rank, self.step)
        loss, figures = self.stage.loss(draw, self.elapsed / self.seconds, self.rank)
        loss.backward()  # type: ignore[no-untyped-call]
        self._share_gradients()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        if torch.isfinite(norm):
            self.optimizer.step(schedule(self.elapsed / self.seconds, self.step))
        for p in self.parameters:
            p.grad = None
        self._average()
        self.step += 1
        spent = torch.tensor(time.monotonic() - started)
        if self.world > 1:
            dist.broadcast(spent, 0)  # all workers must agree on the schedule
        self.wall += spent.item()
        self.elapsed += min(spent.item(), SLOWEST_STEP)
        return {"loss": loss.item(), "norm": norm.item(), **figures}

    def _share_gradients(self) -> None:
        if self.world == 1:
            return
        flat = torch.cat([p.grad.reshape(-1) for p in self.parameters if p.grad is not None])
        dist.all_reduce(flat)
        flat /= self.world
        start = 0
        for p in self.parameters:
            if p.grad is not None:
                p.grad = flat[start : start + p.numel()].view_as(p)
                start += p.numel()

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.stage.ema_decay, (self.step + 1) / (self.step + 10))
        torch._foreach_lerp_(self.ema, [p.detach() for p in self.parameters], 1 - decay)

    @torch.no_grad()
    def finish(self) -> None:
        """Keep the averaged weights, as the stage's result."""
        for p, average in zip(self.parameters, self.ema, strict=True):
            p.copy_(average)


def pin_worker(rank: int) -> None:
    """A thread and a core for each worker: two that wait for each other must never share one."""
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[rank % len(cores)]})


def _work(
    rank: int,
    world: int,
    meeting: str,
    make: Callable[[Path], Stage],
    folder: Path,
    seconds: float,
    seed: int,
) -> None:
    if world > 1:
        pin_worker(rank)
        dist.init_process_group(
            "gloo", init_method=f"file://{meeting}", rank=rank, world_size=world
        )
    torch.manual_seed(seed)
    run = Run(make(folder), folder, seconds, rank, world)
    saved = reported = time.monotonic()
    while run.elapsed < seconds:
        figures = run.advance(seed)
        now = time.monotonic()
        if rank == 0 and (now - reported > REPORT_SECONDS or run.step < 3):
            reported = now
            text = "  ".join(f"{key} {value:.4f}" for key, value in figures.items())
            print(
                f"{run.stage.name}  {run.elapsed:6.0f}/{seconds:.0f} s  step {run.step}  {text}",
                flush=True,
            )
        if rank == 0 and now - saved > CHECKPOINT_SECONDS:
            saved = now
            run.save()
    if rank == 0:
        run.save()
        run.finish()
        torch.save(
            {name: module.state_dict() for name, module in run.stage.modules.items()},
            result(folder, run.stage.name),
        )
        spent = f"{run.elapsed:.0f} s, {run.wall:.0f} s by the clock"
        print(f"{run.stage.name}: {run.step} steps in {spent}", flush=True)
    if world > 1:
        dist.barrier()
        dist.destroy_process_group()


def result(folder: Path, name: str) -> Path:
    """Where the finished weights of a stage lie."""
    return folder / f"{name}.pt"


def train(
    name: str,
    make: Callable[[Path], Stage],
    folder: Path,
    *,
    seconds: float,
    seed: int,
    workers: int = WORKERS,
) -> None:
    """Train the stage that ``make(folder)`` builds, or go on with it; done is done."""
    if result(folder, name).exists():
        print(f"{name}: done before", flush=True)
        return
    with tempfile.TemporaryDirectory() as meeting:
        arguments = (workers, f"{meeting}/meet", make, folder, seconds, seed)
        if workers == 1:
            _work(0, *arguments)
        else:
            try:
                spawn(_work, arguments, nprocs=workers)  # type: ignore[no-untyped-call]
            except ProcessExitedException:
                # gloo may abort the worker that leaves last; then all was done already.
                if not result(folder, name).exists():
                    raise
