"""Make the jobs of a run on a Ray cluster.

Ray Data is the scheduler and no more: blocks of planned jobs go in, and messages about finished
files come out. The actors write images and journal themselves, to a folder that they share.
"""

from __future__ import annotations

import math
import os
import pickle
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from threading import Event, Thread, current_thread, main_thread
from typing import Any, Final, TextIO, cast

from sdcli.distributed.coordinator import Coordinator
from sdcli.distributed.messages import Message
from sdcli.distributed.ray_connection import connected, first_line
from sdcli.distributed.run import DistributedRun, run_distributed
from sdcli.errors import DeviceError, ExitCode, SdcliError
from sdcli.prompts.sources import RequestSource
from sdcli.runner.options import RunOptions
from sdcli.versions import __version__

_MOST_JOBS: Final = 10_000
"""Jobs of one dataset: Ray holds all of its rows, but starts new actors for the next one."""

_LIKELY_ACTORS: Final = 8
"""The number of actors by which blocks are sized as long as the cluster is not known."""

_BUSY_SECONDS: Final = 0.5
_PLANNING_SECONDS: Final = 0.05
_WATCH_SECONDS: Final = 0.2
_THREADS: Final = "OMP_NUM_THREADS"


def run_on_ray(
    source: RequestSource,
    options: RunOptions,
    *,
    address: str,
    workers: int | None,
    batch_size: int | None,
) -> ExitCode:
    """Generate the requests with `workers` actors, by default one for each GPU or machine.

    `address` is "local" for a cluster of this machine that ends with the run, "auto", or that of a
    cluster.
    """
    # The folder of the output is checked first: joining a cluster takes a while.
    with _without_output_of_ray():
        return run_distributed(
            source,
            options,
            partial(_make_all, address, workers),
            workers=workers or 1,
            batch_size=batch_size,
        )


class _MainThreadStream:
    """A stream that drops what other threads write."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        is_main = current_thread() is main_thread()
        return self._stream.write(text) if is_main else len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def _without_output_of_ray() -> Iterator[None]:
    """Within, stdout has only what the main thread writes."""
    # No option turns off that Ray's threads print the deaths of actors among our paths. What its
    # core writes to stderr stays: it may be the last words before the core ends the process.
    stdout = sys.stdout
    sys.stdout = cast(TextIO, _MainThreadStream(stdout))
    try:
        yield
    finally:
        sys.stdout = stdout


def _make_all(address: str, workers: int | None, run: DistributedRun) -> None:
    blocks = take_blocks(run, workers or _LIKELY_ACTORS)
    if not blocks or run.is_ending:
        return
    with connected(address) as ray:
        actors = workers or _default_workers(ray)
        coordinator = ray.remote(num_cpus=0)(Coordinator).remote()
        with _stopping(run, coordinator):
            while blocks and not run.is_ending:
                _make_blocks(ray, blocks, run, coordinator, actors)
                blocks = [] if run.is_ending else take_blocks(run, actors)


def take_blocks(run: DistributedRun, actors: int) -> list[bytes]:
    """Take the blocks of the next dataset, pickled; none at the end of the run."""
    blocks: list[bytes] = []
    planned = 0
    is_stream = run.settings.options.expected_images is None
    while planned < _MOST_JOBS and not run.is_ending:
        if jobs := run.queue.take(run.batch_size, actors):
            run.outcomes.hand_out(jobs, may_repeat=True)
            planned += len(jobs)
            blocks.append(pickle.dumps(jobs))
        elif run.queue.is_empty and not blocks and run.outcomes.busy:
            # New actors start for them, which takes longer than a look at the leases.
            time.sleep(_BUSY_SECONDS)
            run.queue.put_back(run.outcomes.take_free())
        elif run.queue.is_empty or (blocks and is_stream):
            break
        else:
            time.sleep(_PLANNING_SECONDS)
    return blocks


def _make_blocks(
    ray: Any, blocks: list[bytes], run: DistributedRun, coordinator: Any, actors: int
) -> None:
    from sdcli.distributed.ray_worker import RayWorker

    # One row in each block of Ray: with several, a dead actor would take others with it.
    rows = [{"jobs": block} for block in blocks]
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        RayWorker,
        fn_constructor_args=(pickle.dumps(run.settings), __version__, coordinator),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=actors),
        **_resources(ray, actors),
    )
    try:
        for row in dataset.iter_rows():
            messages: list[Message] = pickle.loads(row["messages"])
            for message in messages:
                run.outcomes.handle(message)
    except SdcliError:
        raise
    except Exception as error:
        raise _cluster_error(error) from error
    if (left := len(run.outcomes.jobs)) and not run.is_ending:
        raise _cluster_error(RuntimeError(f"{left} images were neither made nor refused"))


def _resources(ray: Any, actors: int) -> dict[str, Any]:
    """The resources of an actor: a GPU or a part of one; and threads for a part of the cores."""
    cluster = ray.cluster_resources()
    cores, gpus = cluster.get("CPU", 1.0), cluster.get("GPU", 0.0)
    threads = os.environ.get(_THREADS) or str(max(1, int(cores // actors)))
    return {
        # Less than a core each: Ray needs the rest, and a cluster that is full waits forever.
        "num_cpus": round(min(1.0, cores / (2 * actors)), 4),
        "num_gpus": gpu_share(gpus, actors),
        "runtime_env": {"env_vars": {_THREADS: threads}},
    }


def gpu_share(gpus: float, actors: int) -> float | None:
    """The part of a GPU for each of the actors, so that all find room; None without a GPU.

    An actor can't have parts of two GPUs: with 3 actors on 2 GPUs, each gets a half.
    """
    if not gpus:
        return None
    # Ray counts four digits, and three times 0.3334 is too much for one GPU.
    return math.floor(10_000 / math.ceil(actors / gpus)) / 10_000


def _default_workers(ray: Any) -> int:
    gpus = int(ray.cluster_resources().get("GPU", 0))
    return gpus or sum(bool(node["Alive"]) for node in ray.nodes()) or 1


@contextmanager
def _stopping(run: DistributedRun, coordinator: Any) -> Iterator[None]:
    """Within, tell the actors to stop when the run is ending."""
    is_over = Event()

    def watch() -> None:
        # The main thread waits for the next row, whose image is still to be made.
        while not is_over.wait(_WATCH_SECONDS):
            if run.is_ending:
                with suppress(Exception):
                    coordinator.stop.remote()
                return

    thread = Thread(target=watch, name="sdcli-ray-stop", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _cluster_error(error: Exception) -> DeviceError:
    return DeviceError(
        f"the Ray cluster failed: {first_line(error)}",
        code="ray.failed",
        hint="run the same command again to continue",
    )
