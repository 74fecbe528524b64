"""Workers for tests: a real one, and the supervisor alone with a command line of a few words."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

from sdcli.server.protocol import Receiver, send
from sdcli.server.runtime_folder import RuntimeFolder
from sdcli.server.supervisor import Supervisor
from tests.processes import wait_until

KEY = "0123456789abcdef"
PROGRAM = [sys.executable, "-m", "sdcli"]
SECONDS = 120


def environment(runtime: Path, **more: str) -> dict[str, str]:
    search_path = os.pathsep.join(sys.path)
    # Another cache of the hub, as `run_cli` sets for each test, would be another worker.
    folders = {"XDG_RUNTIME_DIR": str(runtime), "HF_HUB_CACHE": str(runtime / "hub")}
    return {**os.environ, "PYTHONPATH": search_path, **folders, **more}


def start(
    runtime: Path, *argv: str, cwd: Path, env: dict[str, str] | None = None, **more: Any
) -> subprocess.Popen[bytes]:
    """Start sdcli with a runtime folder of its own."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(
        [*PROGRAM, *argv],
        cwd=cwd,
        env=environment(runtime, **(env or {})),
        preexec_fn=_as_in_a_terminal,
        **{**streams, **more},
    )


def _as_in_a_terminal() -> None:
    # A test runner in the background of a shell ignores Ctrl-C, and so would its children.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def sdcli(runtime: Path, *argv: str, cwd: Path, **more: Any) -> tuple[int, bytes, bytes]:
    """Run sdcli to its end: its exit code, stdout and stderr."""
    text = more.pop("input", None)
    if text is not None:
        more["stdin"] = subprocess.PIPE
    with start(runtime, *argv, cwd=cwd, **more) as process:
        out, err = process.communicate(text, timeout=SECONDS)
    return process.returncode, out, err


def status(runtime: Path) -> dict[str, Any] | None:
    """What the worker says of itself, None if none is running."""
    connection = _folder(runtime).connect()
    if connection is None:
        return None
    with connection, suppress(ConnectionResetError, BrokenPipeError):
        send(connection, {"do": "status", "key": KEY})
        answer: dict[str, Any] | None = Receiver(connection).wait()
        return answer
    return None


def stop(runtime: Path) -> None:
    """Stop the worker at once, if one is running."""
    with suppress(OSError):
        connection = _folder(runtime).connect()
        if connection:
            with connection:
                send(connection, {"do": "stop", "now": True})
                while connection.recv(100):
                    pass


@contextmanager
def warm_variables() -> Iterator[dict[str, str]]:
    """Variables with which commands share a worker, so that not each of them imports torch."""
    # Of a short name, because it has the name of a socket.
    runtime = Path(tempfile.mkdtemp(prefix="warm-"))
    try:
        yield {"SDCLI_WARM": "1", "XDG_RUNTIME_DIR": str(runtime)}
    finally:
        stop(runtime)
        shutil.rmtree(runtime, ignore_errors=True)


def _folder(runtime: Path) -> RuntimeFolder:
    (runtime / "sdcli").mkdir(mode=0o700, exist_ok=True)
    return RuntimeFolder(str(runtime / "sdcli"))


@contextmanager
def supervised(folder: Path, main: Callable[[list[str]], int], idle: float = 60.0) -> Iterator[int]:
    """Run a supervisor in a process of its own, and yield its id."""
    folder.mkdir(mode=0o700, exist_ok=True)
    pid = os.fork()
    if pid == 0:
        with suppress(BaseException):
            Supervisor(RuntimeFolder(str(folder)), KEY, main, idle).run()
        os._exit(0)
    try:
        wait_until(lambda: _is_listening(folder))
        yield pid
    finally:
        while Client.opened:
            Client.opened.pop().connection.close()
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)


def _is_listening(folder: Path) -> bool:
    connection = RuntimeFolder(str(folder)).connect()
    if connection:
        connection.close()
    return connection is not None


class Client:
    """A client that says what a test wants it to say; the end of its supervisor closes it."""

    opened: ClassVar[list[Client]] = []

    def __init__(self, folder: Path) -> None:
        connection = RuntimeFolder(str(folder)).connect()
        assert connection is not None
        self.connection: socket.socket = connection
        self.receiver = Receiver(connection)
        self.opened.append(self)

    def call(self, *argv: str, stdout: int | None = None, **more: Any) -> None:
        """Ask for a command; its stdout is that of the test unless one is given."""
        call = {
            "arguments": list(argv), "folder": "/", "umask": 0o022, "environment": {},
            "ignored": [], **more.pop("call", {}),
        }  # fmt: skip
        null = os.open(os.devnull, os.O_RDWR)
        fds = [null, null if stdout is None else stdout, null]
        send(self.connection, {"do": "call", "key": KEY, "call": call, **more}, fds)
        os.close(null)

    def events(self) -> list[Any]:
        """Everything that the worker answers, to the end of the connection."""
        answers = []
        with suppress(ConnectionResetError):
            while (answer := self.receiver.wait()) is not None:
                answers.append(answer)
        self.connection.close()
        return answers
