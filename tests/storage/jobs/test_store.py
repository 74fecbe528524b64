"""The job store: what is left to do in a folder, in every state that files can be in."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sdcli.errors import ModelError, NumericsError
from sdcli.job import Job
from sdcli.pipeline_spec import PipelineSpec
from sdcli.shard import Shard
from sdcli.storage.images.destination import Destination
from sdcli.storage.images.writer import image_bytes
from sdcli.storage.jobs.journal import NAME
from sdcli.storage.jobs.store import JobStore
from tests.jobs import make_job, make_result

OpenStore = Callable[..., JobStore]
JOBS = [make_job(index=i, prompt=f"a cat {i}", width=8, height=8) for i in range(4)]


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[OpenStore]:
    """`open_store(**options)`: a store on the test's folder, as another start would open it."""
    stores: list[JobStore] = []

    def open_store(force: bool = False, **options: Any) -> JobStore:
        destination = Destination(kind="folder", path=tmp_path, force=force)
        stores.append(JobStore(destination, **options))
        return stores[-1]

    yield open_store
    for store in stores:
        store.close()


def save(store: JobStore, job: Job, companions: tuple[str, ...] = ()) -> Path:
    result = make_result(**job.field_values())
    destination = Destination(kind="folder", path=store.folder)
    data = image_bytes(result, destination, versions={}, metadata=True)
    taken = store.take_path(job)
    store.save_image(result, data, taken, companions)
    return taken.path


def pending(store: JobStore) -> list[int]:
    return [job.index for job in store.take_pending(JOBS)]


def test_saved_jobs_are_done_in_the_next_start(open_store: OpenStore) -> None:
    store = open_store()
    jobs = store.take_pending(JOBS)
    assert jobs == JOBS
    paths = [save(store, job) for job in jobs[:2]]
    later = open_store()
    assert pending(later) == [2, 3]
    assert later.counts == {"done": 2, "new": 2}
    completed = open_store()
    assert [path for _, path in completed.completed(completed.number_jobs(JOBS))] == paths


@pytest.mark.parametrize(("change", "state"), [("delete", "lost"), ("alter", "lost")])
def test_lost_and_altered_files_are_pending(change: str, state: str, open_store: OpenStore) -> None:
    store = open_store()
    path = save(store, store.take_pending(JOBS)[0])
    if change == "delete":
        path.unlink()
    else:
        path.write_bytes(b"something else")
    later = open_store()
    assert pending(later) == [0, 1, 2, 3]
    assert later.counts[state] == 1
    again = later.take_path(JOBS[0]).path
    # The altered file may be somebody's work: it is kept, and the image gets another name.
    assert (again == path) == (change == "delete")


def test_only_a_file_of_another_size_or_time_is_read_again(open_store: OpenStore) -> None:
    store = open_store()
    path = save(store, store.take_pending(JOBS)[0])
    status = path.stat()
    # Copied without its time: the hash tells that it is the same.
    os.utime(path, ns=(0, 0))
    assert pending(open_store()) == [1, 2, 3]
    path.write_bytes(b"x" * status.st_size)
    assert pending(open_store()) == [0, 1, 2, 3]
    # Nothing but its bytes tells this one from the image, and they are not read.
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert pending(open_store()) == [1, 2, 3]
    path.write_bytes(b"x" * (status.st_size + 1))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert pending(open_store()) == [0, 1, 2, 3]


def test_a_lost_companion_makes_its_job_pending(open_store: OpenStore) -> None:
    store = open_store()
    sidecar = store.folder / "sidecar.json"
    sidecar.write_text("{}")
    save(store, store.take_pending(JOBS)[0], companions=("sidecar.json",))
    assert pending(open_store()) == [1, 2, 3]
    sidecar.unlink()
    assert pending(open_store()) == [0, 1, 2, 3]


def test_without_a_journal_images_are_adopted_by_their_own_records(open_store: OpenStore) -> None:
    store = open_store()
    for job in store.take_pending(JOBS)[:3]:
        save(store, job)
    (store.folder / NAME).unlink()
    later = open_store()
    assert pending(later) == [3]
    assert pending(open_store(rerun="all")) == [0, 1, 2, 3]


def test_failed_jobs_run_again_only_when_asked_for(open_store: OpenStore) -> None:
    store = open_store()
    store.record_failure(store.take_pending(JOBS)[:1], NumericsError("NaN", code="numerics.unet"))
    assert pending(store) == [0, 1, 2, 3]  # numbered again: these are second occurrences
    assert pending(open_store()) == [1, 2, 3]
    assert pending(open_store(rerun="failed")) == [0, 1, 2, 3]


def test_no_folder_of_a_model_is_in_the_journal(open_store: OpenStore, tmp_path: Path) -> None:
    model = tmp_path / "secret" / "mine"
    model.mkdir(parents=True)
    job = replace(JOBS[0], spec=PipelineSpec(model=str(model)))
    store = open_store()
    save(store, job)
    failed = replace(job, seed=1)
    store.record_failure([failed], ModelError(f"{model}/unet: lost", code="model.not_found"))
    text = (tmp_path / NAME).read_text()
    assert "secret" not in text
    assert store.find_outcome(failed) == "model.not_found: mine/unet: lost"


def test_a_rerun_replaces_files_once(open_store: OpenStore) -> None:
    store = open_store()
    path = save(store, store.take_pending(JOBS)[0])
    rerun = open_store(rerun="all")
    job = rerun.take_pending(JOBS)[0]
    assert save(rerun, job) == path
    assert rerun.lease([job]) == ([], [])  # done in this start
    assert len(list(store.folder.glob("*.png"))) == 1


def test_equal_jobs_are_told_apart_by_their_occurrence(open_store: OpenStore) -> None:
    store = open_store()
    jobs = store.take_pending([JOBS[0], replace(JOBS[0], index=1)])
    assert [job.occurrence for job in jobs] == [0, 1]
    save(store, jobs[1])
    assert [job.index for job in open_store().take_pending(jobs)] == [0]


def test_shards_share_all_jobs(open_store: OpenStore) -> None:
    shares = [pending(open_store(shard=Shard(rank=rank, world_size=3))) for rank in range(3)]
    assert shares == [[0, 3], [1], [2]]


def test_drawn_seeds_are_the_same_in_every_start_and_differ_between_jobs(
    open_store: OpenStore, tmp_path: Path
) -> None:
    def draw(store: JobStore) -> list[int]:
        return [store.draw_seed(job) for job in (JOBS[0], JOBS[0], JOBS[1])]

    seeds = draw(open_store())
    assert draw(open_store()) == seeds
    assert len(set(seeds)) == 3
    (tmp_path / "other").mkdir()
    other = JobStore(Destination(kind="folder", path=tmp_path / "other"))
    assert set(draw(other)).isdisjoint(seeds)
    other.close()


def test_a_leased_job_belongs_to_one_process(open_store: OpenStore) -> None:
    first, second = open_store(), open_store()
    jobs = first.take_pending(JOBS[:2])
    assert first.lease(jobs[:1]) == (jobs[:1], [])
    assert second.lease(jobs) == (jobs[1:], jobs[:1])
    save(first, jobs[0])
    assert second.lease(jobs[:1]) == ([], [])
    assert second.counts["elsewhere"] == 1


def test_the_name_of_another_job_s_file_is_not_taken(open_store: OpenStore) -> None:
    store = open_store()
    job = store.take_pending(JOBS)[0]
    (store.folder / store.take_path(job).path.name).write_bytes(b"a stranger's file")
    assert job.id[:8] in store.take_path(job).path.name
    assert open_store(force=True).take_path(job).path.name == "0001-a-cat-0-7.png"


@pytest.mark.parametrize("name", ["0001-a-cat-0-7.json", "0001-a-cat-0-7.latents.safetensors"])
@pytest.mark.parametrize("content", [b"mine", b"", b'{"job": "another"}', b"\xff" * 64])
def test_a_name_is_free_when_its_companions_are(
    name: str, content: bytes, open_store: OpenStore
) -> None:
    store = open_store()
    (store.folder / name).write_bytes(content)
    job = store.take_pending(JOBS)[0]
    path = save(store, job)
    assert job.id[:8] in path.name
    assert (store.folder / name).read_bytes() == content
    assert pending(open_store()) == [1, 2, 3]


def test_companions_that_a_crash_left_without_their_image_are_replaced(
    open_store: OpenStore,
) -> None:
    store = open_store()
    job = store.take_pending(JOBS)[0]
    sidecar = store.folder / "0001-a-cat-0-7.json"
    sidecar.write_text(json.dumps({"job": job.id}))
    taken = store.take_path(job)
    assert taken.path == sidecar.with_suffix(".png")
    assert taken.replaceable == {sidecar}


def test_two_processes_never_take_one_name(open_store: OpenStore) -> None:
    """The jobs differ in what a name does not say."""
    other = replace(JOBS[0], num_inference_steps=9)
    first, second = open_store(), open_store()
    names = [first.take_path(JOBS[0]).path.name, second.take_path(other).path.name]
    assert names[0] == "0001-a-cat-0-7.png"
    assert other.id[:8] in names[1]


@pytest.mark.parametrize("hashes", [{}, {"sha256": ""}, {"sha256": None, "pixels_sha256": None}])
@pytest.mark.parametrize("content", [None, b"no image", b""])
def test_a_line_without_hashes_is_not_done(
    hashes: dict[str, object], content: bytes | None, open_store: OpenStore, tmp_path: Path
) -> None:
    job = JOBS[0]
    line = {"event": "image", "job": job.id, "occurrence": 0, "name": "cat.png", **hashes}
    (tmp_path / NAME).write_text(json.dumps(line) + "\n")
    if content is not None:
        (tmp_path / "cat.png").write_bytes(content)
    store = open_store()
    assert pending(store) == [0, 1, 2, 3]
    assert save(store, job).name == ("0001-a-cat-0-7.png" if content == b"no image" else "cat.png")
    assert not content or (tmp_path / "cat.png").read_bytes() == content


def test_an_image_is_adopted_by_its_record_when_its_line_has_no_hashes(
    open_store: OpenStore,
) -> None:
    store = open_store()
    path = save(store, store.take_pending(JOBS)[0])
    line = {"event": "image", "job": JOBS[0].id, "occurrence": 0, "name": path.name}
    (store.folder / NAME).write_text(json.dumps(line) + "\n")
    assert pending(open_store()) == [1, 2, 3]


def test_a_process_says_once_for_whom_it_waits(open_store: OpenStore) -> None:
    first, second = open_store(), open_store()
    jobs = first.take_pending(JOBS)
    first.lease(jobs)
    warnings: list[str] = []
    second.report_to(warnings.append)

    def warn(text: str) -> None:
        warnings.append(text)
        first.release(jobs[:2])

    second.report_to(warn)
    waiting = second.wait_for_others(second.take_pending(JOBS))
    assert next(waiting) == jobs[:2]
    assert len(warnings) == 1
    assert f"process {os.getpid()}" in warnings[0]
