"""Leases: one owner at a time, and another one when that is dead."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest

from sdcli.storage.jobs.leases import FOLDER, STALE_SECONDS, JobLeases

KEY = ("ab", 0)


@pytest.fixture
def open_leases(tmp_path: Path) -> Iterator[Callable[[], JobLeases]]:
    opened: list[JobLeases] = []

    def open_leases() -> JobLeases:
        opened.append(JobLeases(tmp_path))
        return opened[-1]

    yield open_leases
    for leases in opened:
        leases.close()


def write_lease(folder: Path, *, host: str, pid: int, start: str, age: float = 0.0) -> None:
    """A lease as another process would have written it."""
    (folder / FOLDER).mkdir()
    path = folder / FOLDER / f"{KEY[0]}-{KEY[1]}"
    path.write_text(json.dumps({"host": host, "pid": pid, "start": start}))
    os.utime(path, (time.time() - age,) * 2)


def test_a_job_has_one_owner_until_it_is_released(open_leases: Callable[[], JobLeases]) -> None:
    first, second = open_leases(), open_leases()
    assert first.acquire(KEY)
    assert not second.acquire(KEY)
    assert second.acquire(("ab", 1))
    second.release([KEY])  # not its own: nothing happens
    assert not second.acquire(KEY)
    first.release([KEY])
    assert second.acquire(KEY)


def test_closing_releases_everything_and_the_last_one_removes_the_folder(
    open_leases: Callable[[], JobLeases], tmp_path: Path
) -> None:
    first, second = open_leases(), open_leases()
    first.acquire(KEY)
    second.acquire(("ab", 1))
    first.close()
    assert second.acquire(KEY)
    second.close()
    assert not (tmp_path / FOLDER).exists()


def test_a_dead_process_s_lease_is_taken_over(
    open_leases: Callable[[], JobLeases], tmp_path: Path
) -> None:
    from sdcli.storage import files

    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    write_lease(tmp_path, host=files.host(), pid=dead.pid, start="1")
    assert open_leases().acquire(KEY)


def test_a_process_that_only_has_the_id_of_a_dead_one_does_not_own_its_lease(
    open_leases: Callable[[], JobLeases], tmp_path: Path
) -> None:
    from sdcli.storage import files

    write_lease(tmp_path, host=files.host(), pid=os.getpid(), start="1")
    assert open_leases().acquire(KEY)


@pytest.mark.parametrize(("age", "is_free"), [(0.0, False), (STALE_SECONDS + 5, True)])
def test_another_machine_s_lease_is_free_when_it_was_not_touched(
    age: float, is_free: bool, open_leases: Callable[[], JobLeases], tmp_path: Path
) -> None:
    write_lease(tmp_path, host="elsewhere", pid=1, start="1", age=age)
    assert open_leases().acquire(KEY) == is_free


def test_an_unreadable_lease_is_respected(
    open_leases: Callable[[], JobLeases], tmp_path: Path
) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "ab-0").write_text("written by a later version")
    assert not open_leases().acquire(KEY)


def test_a_process_may_end_while_another_one_leases(tmp_path: Path) -> None:
    """The last one removes the folder, in which the other is about to create its file."""
    errors: list[BaseException] = []

    def lease_repeatedly(number: int) -> None:
        try:
            for _ in range(300):
                leases = JobLeases(tmp_path)
                leases.acquire(("ab", number))
                leases.acquire(("ab", 2))  # both want this one
                leases.close()
        except BaseException as error:
            errors.append(error)

    threads = [Thread(target=lease_repeatedly, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert not (tmp_path / FOLDER).exists()
