"""Blocks of jobs, of which some have ended a worker before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sdcli.distributed.block_worker import BlockWorker
from sdcli.distributed.coordinator import Coordinator
from sdcli.distributed.messages import Began, Failed, Made, Message
from sdcli.errors import ExitCode, OutputError
from sdcli.storage.jobs.journal import Journal
from sdcli.storage.jobs.journal_mark import JournalMark
from tests.distributed.runs import make_settings
from tests.jobs import CPU, make_job

JOBS = [make_job(index=index, seed=index, num_inference_steps=1) for index in range(4)]


def make(folder: Path, coordinator: Coordinator) -> list[Message]:
    """The messages about the jobs, made by a worker in batches of two."""
    messages: list[Message] = []
    worker = BlockWorker(make_settings(folder), messages.append, begin=coordinator.begin)
    worker.make(JOBS)
    worker.flush()
    worker.close()
    return messages


def begun(messages: list[Message]) -> list[tuple[int, ...]]:
    return [message.indices for message in messages if isinstance(message, Began)]


def test_a_batch_whose_jobs_are_all_refused_is_no_end(tmp_path: Path) -> None:
    coordinator = Coordinator()
    for index in (0, 1, 0, 1):
        coordinator.begin([index])
    messages = make(tmp_path, coordinator)
    failed = [message for message in messages if isinstance(message, Failed)]
    assert [(message.indices, message.code) for message in failed] == [
        ((0,), "worker.died"),
        ((1,), "worker.died"),
    ]
    assert begun(messages) == [(2, 3)]


def test_jobs_that_an_actor_had_begun_are_made_and_saved_one_at_a_time(tmp_path: Path) -> None:
    coordinator = Coordinator()
    coordinator.begin([0, 1])
    messages = make(tmp_path, coordinator)
    assert begun(messages) == [(0,), (1,), (2, 3)]
    made = [message.index for message in messages if isinstance(message, Made)]
    assert made == [0, 1, 2, 3]
    kinds = [type(message) for message in messages]
    assert kinds.index(Made) < messages.index(Began((1,)))


def test_a_worker_without_the_model_fails_its_jobs_alone(tmp_path: Path) -> None:
    elsewhere = replace(CPU, model=str(tmp_path / "only-on-another-machine"))
    jobs = [replace(JOBS[0], spec=elsewhere), JOBS[1]]
    messages: list[Message] = []
    worker = BlockWorker(make_settings(tmp_path / "out"), messages.append)
    worker.make(jobs[:1])
    worker.make(jobs[1:])
    worker.flush()
    worker.close()
    [failed] = [message for message in messages if isinstance(message, Failed)]
    assert (failed.indices, failed.error().exit_code) == ((0,), ExitCode.MODEL)
    assert "only-on-another-machine" in failed.error().message
    assert [message.index for message in messages if isinstance(message, Made)] == [1]


def _leave(folder: Path) -> None:
    """Keep the folder as it is."""


def _move_away(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))


def _exchange(folder: Path) -> None:
    _move_away(folder)
    folder.mkdir()
    Journal(folder).close()


@pytest.mark.parametrize(
    ("happen", "is_refused"), [(_leave, False), (_move_away, True), (_exchange, True)]
)
def test_a_worker_writes_to_no_other_folder_than_that_of_the_run(
    tmp_path: Path, happen: Callable[[Path], None], is_refused: bool
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    Journal(out).close()
    settings = replace(make_settings(out), journal=JournalMark.of_folder(out))
    happen(out)
    before = sorted(tmp_path.rglob("*"))
    if is_refused:
        with pytest.raises(OutputError, match="is not the folder of this run"):
            BlockWorker(settings, print)
        assert sorted(tmp_path.rglob("*")) == before
    else:
        BlockWorker(settings, print).close()
