"""Interrupts of a run whose images workers make."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sdcli.distributed.local_run import LocalRun, most_workers
from sdcli.distributed.messages import Message
from sdcli.distributed.worker_pool import Died, Worker, WorkerPool
from sdcli.errors import OutputError
from sdcli.prompts.sources import IterableSource
from sdcli.request import GenerationRequest
from sdcli.runner.options import RunOptions
from sdcli.shard import WHOLE_RUN, Shard
from tests.distributed.runs import make_settings, opened_run
from tests.jobs import CPU


class EndedPool(WorkerPool):
    """A pool without processes, in which an error comes up while it is listened to."""

    def __init__(self, folder: Path, error: BaseException) -> None:
        super().__init__(make_settings(folder), [])
        self.calls: list[str] = []
        self._error = error

    def receive(self, timeout: float) -> Iterator[tuple[Worker, Message | Died]]:
        raise self._error

    def stop(self) -> None:
        self.calls.append("stop")

    def terminate(self) -> None:
        self.calls.append("terminate")


@pytest.mark.parametrize(
    ("error", "calls"),
    [
        # The second of two quick Ctrl-C: nothing is waited for.
        (KeyboardInterrupt(), ["terminate"]),
        (OutputError("full", code="output.full"), ["stop"]),
        (RuntimeError(), ["stop"]),
    ],
)
def test_only_an_interrupt_ends_the_workers_at_once(
    tmp_path: Path, error: BaseException, calls: list[str]
) -> None:
    source = IterableSource([GenerationRequest(prompt="a cat", seed=1, spec=CPU)])
    pool = EndedPool(tmp_path, error)
    with opened_run(tmp_path, source) as run, pytest.raises(type(error)):
        LocalRun(run, pool).make_all()
    assert pool.calls == calls


@pytest.mark.parametrize(
    ("images", "shard", "workers"),
    [
        (None, WHOLE_RUN, None),
        (0, WHOLE_RUN, 1),
        (5, WHOLE_RUN, 5),
        (5, Shard(rank=0, world_size=2), 3),
        (5, Shard(rank=7, world_size=8), 1),
    ],
)
def test_no_worker_is_without_an_image(
    images: int | None, shard: Shard, workers: int | None
) -> None:
    options = RunOptions(out="out", expected_images=images, shard=shard)
    assert most_workers(options) == workers
