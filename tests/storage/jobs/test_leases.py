"""Leases: one owner at a time, and another one when that is dead."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest

from sdcli.errors import OutputError
from sdcli.storage.jobs.leases import FOLDER, STALE_SECONDS, JobLeases
from sdcli.storage.process_owner import current_owner

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


def write_lease(folder: Path, content: object = b"", *, age: float = 0.0) -> Path:
    """A lease as another process would have left it: the bytes, or a JSON document."""
    (folder / FOLDER).mkdir(exist_ok=True)
    path = folder / FOLDER / f"{KEY[0]}-{KEY[1]}"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    os.utime(path, (time.time() - age,) * 2)
    return path


def owner(**changes: object) -> dict[str, object]:
    return {**current_owner().to_dict(), **changes}


def dead_pid() -> int:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    return dead.pid


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


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda: {"pid": dead_pid()}, id="dead"),
        pytest.param(lambda: {"start": "1"}, id="another process has its id now"),
        pytest.param(lambda: {"pid": -1}, id="no process id"),
        pytest.param(lambda: {"pid": 2**40}, id="larger than any process id"),
    ],
)
def test_a_dead_process_s_lease_is_taken_over_immediately(
    change: Callable[[], dict[str, object]],
    open_leases: Callable[[], JobLeases],
    tmp_path: Path,
) -> None:
    write_lease(tmp_path, owner(**change()))
    assert open_leases().acquire(KEY)


UNKNOWN = {
    "another machine": owner(host="elsewhere", place="0" * 16, pid=1),
    "another container of this host name": owner(place="0" * 16, pid=dead_pid()),
    "a system that does not tell its namespace": owner(place="", pid=dead_pid()),
    "version 0.1.0": {"host": current_owner().host, "pid": dead_pid(), "start": "1"},
    "empty": b"",
    "torn": b'{"host": "a", "pi',
    "zeros": b"\0" * 64,
    "no JSON": b"written by a later version",
    "another JSON": [1, 2],
    "another type": {"host": "a", "pid": {}, "start": 1},
    "an infinite id": b'{"host": "a", "pid": 1e999, "start": "1"}',
    "deep": b"[" * 4000,
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_lease_whose_owner_cannot_be_looked_up_is_respected_until_it_is_old(
    name: str, open_leases: Callable[[], JobLeases], tmp_path: Path
) -> None:
    write_lease(tmp_path, UNKNOWN[name])
    leases = open_leases()
    assert not leases.acquire(KEY)
    assert "without a sign of life" in leases.describe_owner(KEY)
    write_lease(tmp_path, UNKNOWN[name], age=STALE_SECONDS + 5)
    assert leases.acquire(KEY)


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_what_is_no_file_is_not_waited_for(
    kind: str, open_leases: Callable[[], JobLeases], tmp_path: Path
) -> None:
    path = write_lease(tmp_path)
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    assert not open_leases().acquire(KEY)
    os.utime(path, (1.0, 1.0), follow_symlinks=False)
    assert open_leases().acquire(KEY)


def test_the_holder_of_a_lease_is_named_until_it_is_released(
    open_leases: Callable[[], JobLeases],
) -> None:
    first, second = open_leases(), open_leases()
    first.acquire(KEY)
    assert second.describe_owner(KEY) == f"process {os.getpid()} on {current_owner().host}"
    first.release([KEY])
    assert second.describe_owner(KEY) == ""


def test_files_that_are_no_leases_stay(
    open_leases: Callable[[], JobLeases], tmp_path: Path
) -> None:
    other = write_lease(tmp_path).rename(tmp_path / FOLDER / "notes.txt")
    os.utime(other, (1.0, 1.0))
    leases = open_leases()
    leases.acquire(KEY)
    leases.close()
    assert other.exists()


def test_a_folder_of_leases_that_is_a_link_is_refused(
    open_leases: Callable[[], JobLeases], tmp_path: Path
) -> None:
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "ab-0").write_text("my own")
    os.utime(tmp_path / "documents" / "ab-0", (1.0, 1.0))
    (tmp_path / FOLDER).symlink_to(tmp_path / "documents")
    leases = open_leases()
    with pytest.raises(OutputError, match="not a folder"):
        leases.acquire(("cd", 0))
    leases.close()
    assert os.listdir(tmp_path / "documents") == ["ab-0"]


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK])
def test_leases_need_no_hard_links(
    number: int,
    open_leases: Callable[[], JobLeases],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    first, second = open_leases(), open_leases()
    assert first.acquire(KEY)
    assert not second.acquire(KEY)
    first.release([KEY])
    assert second.acquire(KEY)
    write_lease(tmp_path, owner(pid=dead_pid()))
    assert first.acquire(KEY)


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
