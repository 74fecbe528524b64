"""Start worker processes on this machine, send them jobs, and start those again that die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, Final

from sdcli.distributed.messages import Began, Block, Message, Ready, Stop, WorkerSettings
from sdcli.job import Job
from sdcli.shard import without_rank

MOST_DEATHS: Final = 3
"""Deaths without an image in between after which a worker is not started again."""

_END_SECONDS: Final = 10.0


@dataclass(kw_only=True)
class Worker:
    """A worker process and its jobs: `jobs` are not answered yet, those of `batch` are begun.

    `environment` is that of its processes, each of which follows a dead one; `deaths` counts them
    since the last image. One that is not `alive` has ended, or is not started again.
    """

    environment: Mapping[str, str]
    jobs: dict[int, Job] = field(default_factory=dict)
    batch: tuple[int, ...] = ()
    deaths: int = 0
    alive: bool = False
    ready: bool = False
    process: subprocess.Popen[bytes] = field(init=False)
    connection: Connection[Any, Any] = field(init=False)

    @property
    def is_waiting(self) -> bool:
        """Whether it has nothing left to begin."""
        return self.ready and all(index in self.batch for index in self.jobs)

    def take_lost(self) -> tuple[list[Job], list[Job]]:
        """Remove the jobs of a dead process: those that it had begun, and the others."""
        begun = [job for index, job in self.jobs.items() if index in self.batch]
        rest = [job for index, job in self.jobs.items() if index not in self.batch]
        self.jobs.clear()
        self.batch = ()
        return begun, rest


@dataclass(frozen=True)
class Died:
    """A worker's process ended without being told to: its exit code, negative for a signal."""

    returncode: int

    def describe(self) -> str:
        """The end of the process in words."""
        if self.returncode >= 0:
            return f"exit code {self.returncode}"
        with suppress(ValueError):
            return signal.Signals(-self.returncode).name
        return f"signal {-self.returncode}"


class WorkerPool:
    """The workers of a run, one for each environment. Use it as a context manager."""

    def __init__(self, settings: WorkerSettings, environments: Sequence[Mapping[str, str]]) -> None:
        self._settings = settings
        self._is_stopping = False
        self.workers = [Worker(environment=environment) for environment in environments]

    def __enter__(self) -> WorkerPool:
        for worker in self.workers:
            self._start(worker)
        return self

    def __exit__(self, *error: object) -> None:
        self._end()

    @property
    def alive(self) -> list[Worker]:
        """The workers that can be given jobs, now or soon."""
        return [worker for worker in self.workers if worker.alive]

    def send(self, worker: Worker, jobs: Sequence[Job]) -> None:
        """Send a block of jobs; a worker that has just died is noticed by `receive`."""
        worker.jobs |= {job.index: job for job in jobs}
        with suppress(OSError):
            worker.connection.send(Block(tuple(jobs)))

    def receive(self, timeout: float) -> Iterator[tuple[Worker, Message | Died]]:
        """Yield what the workers send, after waiting for it at most `timeout` seconds."""
        by_connection = {worker.connection: worker for worker in self.alive}
        for connection in wait(list(by_connection), timeout):
            worker = by_connection[connection]  # type: ignore[index]
            try:
                message: Message = worker.connection.recv()
            except (EOFError, OSError):
                yield from self._reap(worker)
                continue
            if isinstance(message, Began):
                worker.batch = message.indices
            elif isinstance(message, Ready):
                worker.ready = True
            yield worker, message

    def restart(self, worker: Worker) -> bool:
        """Start a process in place of a dead one; False after too many deaths."""
        worker.deaths += 1
        if worker.deaths < MOST_DEATHS:
            self._start(worker)
        return worker.alive

    def stop(self) -> None:
        """Let the workers finish the images in progress, and end."""
        self._is_stopping = True
        for worker in self.alive:
            with suppress(OSError):
                worker.connection.send(Stop())

    def terminate(self) -> None:
        """Let the workers end at once: they keep the latents of unfinished images."""
        self._is_stopping = True
        for worker in self.alive:
            worker.process.terminate()

    def _end(self) -> None:
        """End the processes that are still there."""
        self.terminate()
        deadline = time.monotonic() + _END_SECONDS
        for worker in self.alive:
            try:
                worker.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            worker.connection.close()
            worker.alive = False

    def _start(self, worker: Worker) -> None:
        worker.connection, theirs = Pipe()
        with theirs:
            worker.process = subprocess.Popen(
                [sys.executable, "-m", "sdcli.distributed.worker_process", str(theirs.fileno())],
                env=worker.environment,
                stdin=subprocess.DEVNULL,
                # What a library prints must not get among the paths on stdout.
                stdout=sys.stderr.fileno(),
                pass_fds=[theirs.fileno()],
                # Ctrl-C goes to the parent alone, which lets the workers finish their images.
                start_new_session=True,
            )
        worker.alive, worker.ready = True, False
        with suppress(OSError):
            worker.connection.send(self._settings)

    def _reap(self, worker: Worker) -> Iterator[tuple[Worker, Died]]:
        """Forget a process that has ended; its leases are free once it is waited for."""
        # Until then it is a zombie, which still looks like the living owner of its leases.
        returncode = worker.process.wait()
        worker.connection.close()
        worker.alive = worker.ready = False
        if not self._is_stopping:
            yield worker, Died(returncode)


def worker_environments(
    count: int, devices: Sequence[str] | None = None, cores: int | None = None
) -> list[dict[str, str]]:
    """The environments of `count` workers: a GPU for each, or a part of the CPU's cores."""
    cores = cores or _available_cores()
    threads = {"OMP_NUM_THREADS": str(max(1, cores // count))}
    plain = without_rank(os.environ)
    return [
        {**threads, **plain, **({"CUDA_VISIBLE_DEVICES": devices[number]} if devices else {})}
        for number in range(count)
    ]


def _available_cores() -> int:
    # macOS has no affinity.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
