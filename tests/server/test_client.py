"""The client before its command has begun, with a worker that does not answer or none at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from sdcli.server.requests import read_status, stop_worker
from sdcli.server.runtime_folder import RuntimeFolder
from tests.processes import wait_until
from tests.server import workers
from tests.server.workers import environment

CAT = ["generate", "a cat", "--steps", "1", "--warm", "-o", "cat.png"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RuntimeFolder:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return RuntimeFolder.open()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_wait_for_a_start(
    folder: RuntimeFolder, tmp_path: Path, number: int
) -> None:
    with folder.start_lock():
        process = workers.start(tmp_path, *CAT, cwd=tmp_path)
        wait_until(lambda: _has_open(process.pid, "start.lock"))
        process.send_signal(number)
        out, err = process.communicate(timeout=workers.SECONDS)
    assert (process.returncode, out, err) == (130, b"", b"sdcli: error: interrupted\n")
    assert not (tmp_path / "cat.png").exists()


def _has_open(pid: int, name: str) -> bool:
    for fd in os.listdir(f"/proc/{pid}/fd"):
        # It may be closed by now.
        with suppress(FileNotFoundError):
            if os.readlink(f"/proc/{pid}/fd/{fd}").endswith(name):
                return True
    return False


def test_a_worker_that_cannot_be_used_and_a_closed_stderr(tmp_path: Path) -> None:
    """The command runs here; its warning has nowhere to go."""
    (tmp_path / "sdcli").touch()
    ran = subprocess.run(
        f"{sys.executable} -m sdcli generate 'a cat' --steps 1 --warm -o cat.png 2>&-",
        shell=True, cwd=tmp_path, env=environment(tmp_path), capture_output=True, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"cat.png\n", b"")


@pytest.mark.parametrize("home", ["", "nowhere"])
def test_without_a_folder_there_is_no_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / home))
    assert read_status() is None
    assert stop_worker(now=False) is None
