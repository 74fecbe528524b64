"""Make the jobs of a run in worker processes of this machine."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from sdcli.distributed.messages import Busy, Failed, Made, Message, Settled
from sdcli.distributed.run import DistributedRun, run_distributed
from sdcli.distributed.worker_pool import Died, Worker, WorkerPool
from sdcli.errors import DeviceError, ExitCode
from sdcli.prompts.sources import RequestSource
from sdcli.runner.options import RunOptions

_POLL_SECONDS: Final = 0.1
_BUSY_SECONDS: Final = 0.5
"""Seconds between two checks of the jobs that another run is making."""

_END_SECONDS: Final = 10.0


def run_with_workers(
    source: RequestSource,
    options: RunOptions,
    environments: Sequence[Mapping[str, str]],
    *,
    batch_size: int | None,
) -> ExitCode:
    """Generate the requests in one process for each environment, as `runner.deliver.run` does.

    There are no more processes than images.
    """
    environments = environments[: most_workers(options)]
    return run_distributed(
        source,
        options,
        partial(_make_all, environments),
        workers=len(environments),
        batch_size=batch_size,
    )


def most_workers(options: RunOptions) -> int | None:
    """The number of workers that can each have an image; None for a stream."""
    if options.expected_images is None:
        return None
    return max(1, -(-options.expected_images // options.find_shard().world_size))


def _make_all(environments: Sequence[Mapping[str, str]], run: DistributedRun) -> None:
    with WorkerPool(run.settings, environments) as pool:
        LocalRun(run, pool).make_all()


class LocalRun:
    def __init__(self, run: DistributedRun, pool: WorkerPool) -> None:
        self._run = run
        self._pool = pool
        self._next_try = 0.0

    def make_all(self) -> None:
        """Feed the workers until everything is made, or the run ends."""
        try:
            self._make_and_finish()
        except KeyboardInterrupt:
            self._end_at_once()
            raise

    def _make_and_finish(self) -> None:
        try:
            while not (self._run.is_complete or self._run.is_ending):
                self._feed()
                self._receive()
        except Exception:
            self._finish()
            raise
        self._finish()

    def _finish(self) -> None:
        """Let the workers end, also after an error: images in progress are finished."""
        self._pool.stop()
        while self._pool.alive:
            self._receive()

    def _end_at_once(self) -> None:
        """End the workers within their images, after what they still have to say."""
        self._pool.terminate()
        deadline = time.monotonic() + _END_SECONDS
        while self._pool.alive and time.monotonic() < deadline:
            self._receive()

    def _feed(self) -> None:
        """Send jobs to the workers that have nothing left to begin."""
        for worker in self._pool.alive:
            if not worker.is_waiting:
                continue
            if jobs := self._run.queue.take(self._run.batch_size, len(self._pool.alive)):
                self._run.outcomes.hand_out(jobs)
                self._pool.send(worker, jobs)
        if self._run.outcomes.busy and time.monotonic() >= self._next_try:
            self._next_try = time.monotonic() + _BUSY_SECONDS
            if not self._run.outcomes.jobs and self._run.queue.is_empty:
                self._run.queue.put_back(self._run.outcomes.take_free())

    def _receive(self) -> None:
        for worker, message in self._pool.receive(_POLL_SECONDS):
            if isinstance(message, Died):
                self._replace(worker, message)
            else:
                _settle(worker, message)
                self._run.outcomes.handle(message)

    def _replace(self, worker: Worker, died: Died) -> None:
        """Start a dead worker again, and have its jobs made."""
        reason = died.describe()
        begun, rest = worker.take_lost()
        self._run.outcomes.warn(f"a worker process ended with {reason}; its images are made again")
        again = self._run.outcomes.lose(begun, rest, reason)
        self._run.queue.put_back(rest)
        # One of them may have been the cause: they must not take other images with them.
        self._run.queue.put_back_alone(again)
        if self._pool.restart(worker) or self._pool.alive or self._run.is_complete:
            return
        raise DeviceError(
            f"no worker process is left, the last one ended with {reason}",
            code="worker.died",
            hint="run the same command again to continue, with fewer --workers if memory is short",
        )


def _settle(worker: Worker, message: Message) -> None:
    """Forget the jobs that a worker has answered."""
    if isinstance(message, Made):
        worker.jobs.pop(message.index, None)
        worker.deaths = 0
    elif isinstance(message, Failed | Settled | Busy):
        for index in message.indices:
            worker.jobs.pop(index, None)
