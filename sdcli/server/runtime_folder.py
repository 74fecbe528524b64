"""Find the user's folder for the socket of the worker, and connect to it."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

_SOCKET: Final = "worker.sock"
_LOCK: Final = "start.lock"
_LOG: Final = "worker.log"
_LONGEST_PATH: Final = 100
_CREDENTIALS: Final = struct.Struct("3i")


class RuntimeFolder:
    """A folder that nobody else can enter: $XDG_RUNTIME_DIR/sdcli, or /tmp/sdcli-UID."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.log = os.path.join(path, _LOG)

    @classmethod
    def open(cls) -> RuntimeFolder:
        """Create the folder, or check the one that is there. Raises OSError."""
        home = os.environ.get("XDG_RUNTIME_DIR")
        # The worker works in another folder.
        path = os.path.abspath(os.path.join(home, "sdcli")) if home else f"/tmp/sdcli-{os.getuid()}"
        with suppress(FileExistsError):
            os.mkdir(path, 0o700)
        state = os.lstat(path)
        # In /tmp, somebody else may have made it first.
        is_own = stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid()
        if not is_own or stat.S_IMODE(state.st_mode) & 0o077:
            raise PermissionError(f"{path} is not a folder of yours alone")
        return cls(path)

    def connect(self) -> socket.socket | None:
        """Connect to the worker; None if none is running. Raises OSError."""
        connection = socket.socket(socket.AF_UNIX)
        try:
            with _short(self.path) as folder:
                connection.connect(f"{folder}/{_SOCKET}")
            if is_own_process(connection):
                return connection
        except (FileNotFoundError, ConnectionRefusedError):
            pass
        except BaseException:
            connection.close()
            raise
        connection.close()
        return None

    def listen(self) -> socket.socket:
        """Replace the socket of a dead worker by a new one. Raises OSError."""
        self.unlink()
        listener = socket.socket(socket.AF_UNIX)
        before = os.umask(0o177)
        try:
            with _short(self.path) as folder:
                listener.bind(f"{folder}/{_SOCKET}")
        finally:
            os.umask(before)
        listener.listen(256)
        return listener

    def unlink(self) -> None:
        """Remove the socket, so that the next client starts a worker."""
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(self.path, _SOCKET))

    def socket_inode(self) -> int | None:
        """Return what tells whether the socket is still the same one."""
        try:
            return os.stat(os.path.join(self.path, _SOCKET)).st_ino
        except OSError:
            return None

    @contextmanager
    def start_lock(self) -> Iterator[None]:
        """Let one client at a time start a worker. Raises OSError."""
        fd = os.open(os.path.join(self.path, _LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def is_own_process(connection: socket.socket) -> bool:
    """Whether the other side belongs to this user, where the system tells."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return True
    data = connection.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size)
    user: int = _CREDENTIALS.unpack(data)[1]
    return user == os.getuid()


@contextmanager
def _short(path: str) -> Iterator[str]:
    """Yield a short path of a folder: the address of a socket has room for 107 bytes."""
    if len(os.fsencode(path)) < _LONGEST_PATH - len(_SOCKET):
        yield path
        return
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)
