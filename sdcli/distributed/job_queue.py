"""Plan the requests of a run in a second thread, and hand out what is left to do in blocks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, Queue
from threading import Thread
from typing import Final

from sdcli.job import Job
from sdcli.planning.batching import PlanningWindows, group_jobs
from sdcli.planning.planner import Planner
from sdcli.prompts.sources import RequestSource
from sdcli.result import SortedJobs
from sdcli.runner.input_images import read_image
from sdcli.storage.jobs.store import JobStore

_LARGEST_BLOCK: Final = 32
"""Jobs of a block whose batch size the worker chooses."""

_WINDOWS: Final = 2
"""Windows of jobs that are planned ahead: a million do not fit into memory."""


class JobQueue:
    """The jobs of a run that are left to do.

    `expect` is called by `take` with each window of jobs, in their order. `warn` is called in the
    thread that plans.
    """

    def __init__(
        self,
        source: RequestSource,
        store: JobStore,
        *,
        warn: Callable[[str], None],
        expect: Callable[[SortedJobs], None],
    ) -> None:
        self._store = store
        self._expect = expect
        planner = Planner(warn, store.draw_seed, source.wildcards, read_image=read_image)
        self._planned = PlanningWindows(source, planner)
        self._windows: Queue[SortedJobs | BaseException | None] = Queue(_WINDOWS)
        self._groups: deque[list[Job]] = deque()
        self._alone: deque[Job] = deque()
        self._is_planned = False
        # A daemon: it may wait for a stream that never ends.
        self._thread = Thread(target=self._plan, name="sdcli-planner", daemon=True)
        self._thread.start()

    @property
    def is_empty(self) -> bool:
        """Whether everything was handed out, and there is nothing more to come."""
        return self._is_planned and not self._groups and not self._alone

    def take(self, batch_size: int | None, workers: int) -> list[Job]:
        """Take the next block of jobs that can share a batch; empty if none is at hand.

        With a `batch_size` of None, `workers` of them get blocks that become smaller at the end.
        Raises the error of an invalid request.
        """
        while not self._groups and not self._is_planned and self._receive():
            pass
        if not self._groups:
            return [self._alone.popleft()] if self._alone else []
        group = self._groups.popleft()
        size = batch_size or min(_LARGEST_BLOCK, -(-len(group) // (2 * workers)))
        if group[size:]:
            self._groups.appendleft(group[size:])
        return group[:size]

    def put_back(self, jobs: Sequence[Job]) -> None:
        """Hand out these jobs next."""
        self._groups.extendleft(reversed(group_jobs(jobs)))

    def put_back_alone(self, jobs: Sequence[Job]) -> None:
        """Hand out each of these jobs by itself, when there are no others."""
        self._alone.extend(jobs)

    def _receive(self) -> bool:
        """Take in a window that is planned; False if none is at hand. Raises what planning did."""
        try:
            # No waiting: a run has to listen to its workers, and to Ctrl-C.
            window = self._windows.get_nowait()
        except Empty:
            return False
        if isinstance(window, BaseException):
            self._is_planned = True
            raise window
        if window is None:
            self._is_planned = True
            return False
        self._expect(window)
        self._groups.extend(group_jobs(window.pending))
        return True

    def _plan(self) -> None:
        try:
            while jobs := self._planned.take():
                self._windows.put(self._store.sort_jobs(jobs))
            self._windows.put(None)
        except BaseException as error:  # raised by the thread that takes jobs
            self._windows.put(error)
