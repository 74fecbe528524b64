"""The folder of the socket is the user's alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sdcli.server.runtime_folder import RuntimeFolder, is_own_process


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


def test_it_is_created_for_the_user_alone(home: Path) -> None:
    before = os.umask(0)
    try:
        assert RuntimeFolder.open().path == str(home / "sdcli")
    finally:
        os.umask(before)
    assert (home / "sdcli").stat().st_mode & 0o777 == 0o700


def test_without_the_variable_it_is_in_tmp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    assert RuntimeFolder.open().path == f"/tmp/sdcli-{os.getuid()}"


@pytest.mark.parametrize("kind", ["open to all", "a link", "a file", "somebody else's"])
def test_a_folder_that_others_could_have_made_is_refused(home: Path, kind: str) -> None:
    folder = home / "sdcli"
    if kind == "a link":
        (home / "elsewhere").mkdir(mode=0o700)
        folder.symlink_to(home / "elsewhere")
    elif kind == "a file":
        folder.touch(mode=0o600)
    else:
        folder.mkdir(mode=0o700)
    if kind == "open to all":
        folder.chmod(0o755)
    if kind == "somebody else's":
        if os.getuid() != 0:
            pytest.skip("only root can give a folder away")
        os.chown(folder, 65534, 65534)
    with pytest.raises(PermissionError, match="not a folder of yours alone"):
        RuntimeFolder.open()


def test_a_relative_path_is_one_of_the_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", ".")
    assert RuntimeFolder.open().path == str(tmp_path / "sdcli")


def test_a_missing_parent_is_an_error(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / "nowhere"))
    with pytest.raises(FileNotFoundError):
        RuntimeFolder.open()


def test_without_a_worker_there_is_no_connection(home: Path) -> None:
    folder = RuntimeFolder.open()
    assert folder.connect() is None
    folder.listen().close()
    # The socket of a worker that was killed.
    assert folder.socket_inode()
    assert folder.connect() is None


@pytest.mark.parametrize("depth", [0, 1])
def test_a_long_path_is_no_obstacle(home: Path, depth: int) -> None:
    path = home / ("x" * 120 * depth)
    path.mkdir(exist_ok=True)
    folder = RuntimeFolder(str(path))
    with folder.listen() as listener:
        connection = folder.connect()
        assert connection
        with connection, listener.accept()[0] as other:
            assert is_own_process(other)
            other.sendall(b"x")
            assert connection.recv(1) == b"x"
    folder.unlink()
    assert folder.socket_inode() is None
