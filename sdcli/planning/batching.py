"""Group jobs into batches, so that no model loads more often than necessary."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice, takewhile
from typing import Final, Protocol

from sdcli.job import Job
from sdcli.pipeline_spec import PipelineSpec
from sdcli.planning.planner import Planner
from sdcli.prompts.sources import RequestSource
from sdcli.result import SortedJobs

PLANNING_WINDOW: Final = 1024
"""Requests that are grouped together: models that alternate in a file load once per window."""


_WINDOW_JOBS: Final = 16_384
"""Jobs that are planned together, if a few requests have many of them."""


class SharedJobs(Protocol):
    """The part of a job store that batching needs."""

    def sort_jobs(self, jobs: Sequence[Job]) -> SortedJobs:
        """The jobs that this process still has to make, and those that are done."""

    def lease(self, jobs: Sequence[Job]) -> tuple[list[Job], list[Job]]:
        """The jobs to make now, and those that another process is making."""

    def wait_for_others(self, jobs: Sequence[Job]) -> Iterator[list[Job]]:
        """Wait for other processes; yield leased jobs that they did not finish."""


class BatchObserver(Protocol):
    """Receives the order in which jobs are reported."""

    def expect(self, jobs: SortedJobs) -> None:
        """The pending jobs come next, in the order of their indices, among those that are done."""

    def skip(self, jobs: Sequence[Job]) -> None:
        """These jobs do not come, or not in that order."""


class BatchPlanner(Protocol):
    """Plans the batches of a run one at a time, so that each can have the size that fits."""

    def wait_for_job(self) -> Job | None:
        """Wait for the first job of the next batch; None at the end of the run."""

    def next_batch(self, size: int) -> list[Job]:
        """Take up to `size` jobs that can share a batch, beginning with the job waited for.

        Empty when other processes took all of them.
        """


class PlanningWindows:
    """The jobs of a source, in windows of those that are planned together."""

    def __init__(self, source: RequestSource, planner: Planner) -> None:
        self._source = source
        self._planner = planner
        self._rest: Iterator[Job] = iter(())

    def take(self) -> list[Job]:
        """Wait for a request, and plan it with those that have arrived; empty at the end."""
        jobs = self._take_planned(_WINDOW_JOBS) or self._plan(1, wait=True, limit=_WINDOW_JOBS)
        if 0 < len(jobs) < _WINDOW_JOBS:
            limit = _WINDOW_JOBS - len(jobs)
            jobs += self._plan(PLANNING_WINDOW - 1, wait=False, limit=limit)
        return jobs

    def _take_planned(self, limit: int) -> list[Job]:
        return list(islice(self._rest, limit))

    def _plan(self, requests: int, *, wait: bool, limit: int) -> list[Job]:
        self._rest = self._planner.plan_lazily(self._source.take(requests, wait=wait))
        return self._take_planned(limit)


class ArrivalBatchPlanner:
    """Batches in the order in which requests arrive. A batch never waits for more requests."""

    def __init__(self, source: RequestSource, planner: Planner) -> None:
        self._source = source
        self._planner = planner
        self._jobs: list[Job] = []
        self._rest: Iterator[Job] = iter(())

    def wait_for_job(self) -> Job | None:
        """Wait for the first job of the next batch; None at the end of the run."""
        self._fill(1)
        if not self._jobs:
            self._plan(1, wait=True)
            self._fill(1)
        return self._jobs[0] if self._jobs else None

    def next_batch(self, size: int) -> list[Job]:
        """Take up to `size` jobs that can share a batch and have arrived."""
        self._fill(size)
        if (missing := size - len(self._jobs)) > 0:
            self._plan(missing, wait=False)
            self._fill(size)
        key = self._jobs[0].batch_key
        batch = list(takewhile(lambda job: job.batch_key == key, self._jobs[:size]))
        self._jobs = self._jobs[len(batch) :]
        return batch

    def _plan(self, requests: int, *, wait: bool) -> None:
        self._rest = self._planner.plan_lazily(self._source.take(requests, wait=wait))

    def _fill(self, size: int) -> None:
        """Take planned jobs until there are `size`, without any request."""
        self._jobs += islice(self._rest, max(0, size - len(self._jobs)))


class LeasedBatchPlanner:
    """Batches of what is left to do in a folder, grouped by model, each leased before it is made.

    Jobs that another process is making are tried again at the end of the run. `observer` learns
    which jobs come, and which of those do not come in their order.
    """

    def __init__(
        self, source: RequestSource, planner: Planner, jobs: SharedJobs, observer: BatchObserver
    ) -> None:
        self._windows = PlanningWindows(source, planner)
        self._shared = jobs
        self._observer = observer
        self._groups: deque[list[Job]] = deque()
        self._last_spec: PipelineSpec | None = None
        self._postponed: list[Job] = []
        self._unfinished: Iterator[list[Job]] | None = None

    def wait_for_job(self) -> Job | None:
        """Wait for the first job of the next batch; None at the end of the run."""
        while not self._groups and self._unfinished is None:
            if not self._plan_window():
                self._unfinished = self._shared.wait_for_others(self._postponed)
        if not self._groups and self._unfinished is not None:
            self._groups.extend(group_jobs(next(self._unfinished, [])))
        return self._groups[0][0] if self._groups else None

    def next_batch(self, size: int) -> list[Job]:
        """Take and lease up to `size` jobs that can share a batch; may be empty."""
        group = self._groups.popleft()
        self._last_spec = group[0].spec
        batch, rest = group[:size], group[size:]
        if rest:
            self._groups.appendleft(rest)
        # Jobs that other processes left unfinished come leased.
        return batch if self._unfinished is not None else self._lease(batch)

    def _plan_window(self) -> bool:
        """Plan the requests that have arrived; False at the end of the source."""
        jobs = self._windows.take()
        if not jobs:
            return False
        jobs_by_state = self._shared.sort_jobs(jobs)
        self._observer.expect(jobs_by_state)
        self._groups.extend(group_jobs(jobs_by_state.pending, self._last_spec))
        return True

    def _lease(self, jobs: Sequence[Job]) -> list[Job]:
        leased, others = self._shared.lease(jobs)
        self._postponed += others
        self._observer.skip([job for job in jobs if job not in leased])
        return leased


def group_jobs(jobs: Sequence[Job], loaded: PipelineSpec | None = None) -> list[list[Job]]:
    """Group the jobs that can share a batch.

    Groups of one pipeline are neighbours, those of the `loaded` one come first, and otherwise they
    keep the order of their first jobs.
    """
    by_key: dict[Hashable, list[Job]] = {}
    for job in jobs:
        by_key.setdefault(job.batch_key, []).append(job)
    specs = order_specs({group[0].spec: None for group in by_key.values()}, loaded)
    return sorted(by_key.values(), key=lambda group: specs.index(group[0].spec))


def order_specs(
    specs: Mapping[PipelineSpec, None], loaded: PipelineSpec | None
) -> list[PipelineSpec]:
    """Sort pipelines by how little must be loaded for them.

    The `loaded` one comes first, then those that differ from it in the VAE only, then the rest in
    their order, with those of one model together.
    """
    models: dict[PipelineSpec, list[PipelineSpec]] = {}
    for spec in sorted(specs, key=lambda spec: spec != loaded):
        models.setdefault(without_vae(spec), []).append(spec)
    if loaded is not None and without_vae(loaded) in models:
        models = {without_vae(loaded): models.pop(without_vae(loaded)), **models}
    return [spec for same_model in models.values() for spec in same_model]


def without_vae(spec: PipelineSpec) -> PipelineSpec:
    """The spec without its choice of a VAE: the large components, loaded once for all VAEs."""
    return replace(spec, vae=None, force_vae=False)


def same_base_model(spec: PipelineSpec, other: PipelineSpec) -> bool:
    """Whether the two differ in the VAE only."""
    return without_vae(spec) == without_vae(other)
