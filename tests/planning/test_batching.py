"""Batches: which jobs share one, in which order, and how processes share them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdcli.job import Job
from sdcli.pipeline_spec import PipelineSpec
from sdcli.planning.batching import (
    ArrivalBatchPlanner,
    BatchPlanner,
    LeasedBatchPlanner,
    group_jobs,
    order_specs,
    same_base_model,
    without_vae,
)
from sdcli.planning.planner import Planner
from sdcli.prompts.sources import IterableSource
from sdcli.request import GenerationRequest
from sdcli.result import SortedJobs
from sdcli.storage.images.destination import Destination
from sdcli.storage.jobs.store import JobStore
from tests.jobs import CPU, make_job
from tests.planning.models import DEFAULTS

SPECS = [CPU, replace(CPU, vae="tiny"), replace(CPU, model="a"), replace(CPU, model="a", vae="b")]
WIDTHS = (64, 128)

kinds = st.lists(st.tuples(st.sampled_from(SPECS), st.sampled_from(WIDTHS)), max_size=12)


def make_requests(kinds: Sequence[tuple[PipelineSpec, int]]) -> list[GenerationRequest]:
    return [
        GenerationRequest(prompt="a cat", spec=spec, width=width, seed=seed)
        for seed, (spec, width) in enumerate(kinds)
    ]


def take_all(planner: BatchPlanner, size: int) -> Iterator[list[Job]]:
    while (job := planner.wait_for_job()) is not None:
        batch = planner.next_batch(size)
        assert batch[:1] in ([], [job])
        yield batch


class LateSource:
    """Requests of which each arrives only when it is waited for."""

    wildcards = None

    def __init__(self, requests: list[GenerationRequest]) -> None:
        self._requests = requests

    def take(self, limit: int, *, wait: bool) -> list[GenerationRequest]:
        return [self._requests.pop(0)] if wait and self._requests else []


class Recorder:
    """An observer of the order of jobs."""

    def __init__(self) -> None:
        self.expected: list[int] = []
        self.skipped: list[int] = []

    def expect(self, jobs: SortedJobs) -> None:
        self.expected += [job.index for job in jobs.pending]

    def skip(self, jobs: Sequence[Job]) -> None:
        self.skipped += [job.index for job in jobs]


def make_planner() -> Planner:
    return Planner(print, find_model=lambda spec: (DEFAULTS, ""))


@pytest.fixture
def make_store(tmp_path: Path) -> Iterator[Callable[[], JobStore]]:
    stores: list[JobStore] = []

    def make() -> JobStore:
        stores.append(JobStore(Destination(kind="folder", path=tmp_path)))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


@given(kinds, st.integers(1, 5))
def test_without_a_store_batches_keep_the_order_and_are_as_large_as_they_may_be(
    kinds: list[tuple[PipelineSpec, int]], size: int
) -> None:
    source = IterableSource(make_requests(kinds))
    batches = list(take_all(ArrivalBatchPlanner(source, make_planner()), size))
    assert [job.index for batch in batches for job in batch] == list(range(len(kinds)))
    for batch in batches:
        assert 1 <= len(batch) <= size
        assert len({job.batch_key for job in batch}) == 1
    for batch, following in pairwise(batches):
        assert len(batch) == size or batch[0].batch_key != following[0].batch_key


def test_a_batch_does_not_wait_for_requests_that_have_not_arrived() -> None:
    source = LateSource(make_requests([(CPU, 64)] * 3))
    batches = list(take_all(ArrivalBatchPlanner(source, make_planner()), 8))
    assert [len(batch) for batch in batches] == [1, 1, 1]


def test_the_first_job_can_be_asked_for_again() -> None:
    batches = ArrivalBatchPlanner(IterableSource(make_requests([(CPU, 64)])), make_planner())
    assert batches.wait_for_job() is batches.wait_for_job()
    batches.next_batch(1)
    assert batches.wait_for_job() is None


@given(kinds, st.none() | st.sampled_from(SPECS))
def test_groups_hold_every_job_once_and_pipelines_are_neighbours(
    kinds: list[tuple[PipelineSpec, int]], loaded: PipelineSpec | None
) -> None:
    jobs = [make_job(index=i, spec=spec, width=width) for i, (spec, width) in enumerate(kinds)]
    groups = group_jobs(jobs, loaded)
    assert sorted(job.index for group in groups for job in group) == list(range(len(jobs)))
    for group in groups:
        assert len({job.batch_key for job in group}) == 1
        assert [job.index for job in group] == sorted(job.index for job in group)
    specs = [spec for spec, _ in groupby(group[0].spec for group in groups)]
    assert len(specs) == len(set(specs))
    models = [model for model, _ in groupby(map(without_vae, specs))]
    assert len(models) == len(set(models))


@given(st.lists(st.sampled_from(SPECS), unique=True), st.sampled_from(SPECS))
def test_what_is_loaded_is_used_first(specs: list[PipelineSpec], loaded: PipelineSpec) -> None:
    order = order_specs(dict.fromkeys(specs), loaded)
    assert sorted(map(repr, order)) == sorted(map(repr, specs))
    if loaded in specs:
        assert order[0] == loaded
    elif any(same_base_model(spec, loaded) for spec in specs):
        assert same_base_model(order[0], loaded)


def test_with_a_store_jobs_are_grouped_and_reported_in_the_order_of_the_file(
    make_store: Callable[[], JobStore],
) -> None:
    mixed = make_requests([(SPECS[i % 2], 64) for i in range(6)])
    observer = Recorder()
    batches = LeasedBatchPlanner(IterableSource(mixed), make_planner(), make_store(), observer)
    assert [[job.index for job in batch] for batch in take_all(batches, 2)] == [
        [0, 2], [4], [1, 3], [5],
    ]  # fmt: skip
    assert (observer.expected, observer.skipped) == ([0, 1, 2, 3, 4, 5], [])


def test_two_processes_share_the_jobs_and_the_rest_is_taken_over(
    make_store: Callable[[], JobStore],
) -> None:
    def start(store: JobStore, observer: Recorder) -> LeasedBatchPlanner:
        source = IterableSource(make_requests([(CPU, 64)] * 6))
        return LeasedBatchPlanner(source, make_planner(), store, observer)

    first_store, observer = make_store(), Recorder()
    first = start(first_store, Recorder())
    second = start(make_store(), observer)
    assert first.wait_for_job() is not None
    leased = first.next_batch(2)
    assert second.wait_for_job() is not None
    assert second.next_batch(2) == []
    assert observer.skipped == [0, 1]
    rest = [second.next_batch(2) for _ in range(2) if second.wait_for_job()]
    assert [[job.index for job in batch] for batch in rest] == [[2, 3], [4, 5]]
    first_store.release(leased)  # as when the first process dies
    assert [[job.index for job in batch] for batch in take_all(second, 2)] == [[0, 1]]
