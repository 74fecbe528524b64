"""The estimate before the first image."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdcli.job import Job
from sdcli.result import DoneImage, SortedJobs
from sdcli.runner.estimate import RunEstimate
from sdcli.shard import Shard
from sdcli.storage.images.destination import parse_destination
from sdcli.storage.jobs.store import JobStore
from sdcli.storage.jobs.user_timings import RunTimings
from tests.jobs import make_job

JOBS = [make_job(index=i, seed=i) for i in range(10)]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def estimate(images: int | None, jobs: SortedJobs) -> list[str]:
    notes: list[str] = []
    run = RunEstimate(None, images, notes.append)
    run.expect(jobs)
    run.expect(jobs)
    return notes


def remember(seconds: float) -> None:
    run = RunTimings()
    run.add(JOBS[0], "cpu", seconds)
    run.save()


def test_it_counts_what_is_left_and_is_printed_once() -> None:
    remember(3.0)
    done = [DoneImage(job=job, path="a.png", pixels_sha256="") for job in JOBS[:4]]
    notes = estimate(2000, SortedJobs(pending=JOBS[4:], done=done, others=2))
    assert notes == ["1994 images, about 1:39:42 according to earlier runs"]


def test_a_short_run_begins_without_it() -> None:
    remember(3.0)
    assert estimate(10, SortedJobs(pending=JOBS)) == []
    assert estimate(10, SortedJobs(pending=[])) == []


def test_an_unknown_time_is_said_of_many_images() -> None:
    [note] = estimate(2000, SortedJobs(pending=JOBS))
    assert note == "2000 images, time unknown; generate the first two to know: --limit 2"
    assert estimate(10, SortedJobs(pending=JOBS)) == []
    assert estimate(None, SortedJobs(pending=JOBS)) == []


@pytest.mark.parametrize(
    ("windows", "left"),
    [
        ([([], 0, 1000), (JOBS, 0, 0)], 1000),
        ([([], 4, 0), ([], 2, 994), (JOBS, 0, 0)], 1000),
        ([(JOBS, 0, 0), (JOBS, 0, 0)], 2000),
    ],
)
def test_images_of_earlier_windows_are_not_left(
    windows: list[tuple[list[Job], int, int]], left: int
) -> None:
    notes: list[str] = []
    run = RunEstimate(None, 2000, notes.append)
    for pending, done, others in windows:
        images = [DoneImage(job=job, path="a.png", pixels_sha256="") for job in JOBS[:done]]
        run.expect(SortedJobs(pending=pending, done=images, others=others))
    assert [note.partition(",")[0] for note in notes] == [f"{left} images"]


def test_a_shard_is_estimated_by_its_own_images(tmp_path: Path) -> None:
    notes: list[str] = []
    destination = parse_destination(str(tmp_path / "out"), several=True, force=False)
    store = JobStore(destination, shard=Shard(rank=1, world_size=4))
    RunEstimate(store, 2000, notes.append).expect(SortedJobs(pending=JOBS, others=30))
    store.close()
    assert [note.partition(",")[0] for note in notes] == ["500 images"]
