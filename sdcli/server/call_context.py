"""Take over what belongs to a client's process: streams, folder, environment and signals."""

from __future__ import annotations

import io
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from sdcli.server.protocol import Call

_END_SIGNALS: Final[dict[int, Any]] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}
_OWN_STREAMS: Final = {name: getattr(sys, name) for name in ("stdin", "stdout", "stderr")}
# Before a call replaces them.
_TEXT: Final[dict[str, dict[str, Any]]] = {
    name: {"encoding": stream.encoding, "errors": stream.errors}
    for name, stream in _OWN_STREAMS.items()
}


@contextmanager
def client_context(call: Call, fds: Sequence[int], on_output: Callable[[], None]) -> Iterator[None]:
    """Be the client's process within. `on_output` is called before anything is on stdout.

    Closes `fds`. Raises OSError if the folder is gone.
    """
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
        os.close(fd)
    try:
        os.chdir(call.folder)
        os.umask(call.umask)
        _set_environment(call.environment)
        _open_streams(on_output)
        for number, handler in _END_SIGNALS.items():
            signal.signal(number, signal.SIG_IGN if number in call.ignored else handler)
        yield
    finally:
        ignore_signals()
        _release()


def ignore_signals() -> None:
    """Ignore the signals that end a program: none is meant for a worker without a call."""
    for number in _END_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _set_environment(environment: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    # Chosen once, by TMPDIR.
    tempfile.tempdir = None


def _open_streams(on_output: Callable[[], None]) -> None:
    """Open Python's streams as a new process does, whose encoding depends on the worker's key."""
    output = io.BufferedWriter(_Output(on_output))
    streams = {
        "stdin": io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), **_TEXT["stdin"]),
        "stdout": io.TextIOWrapper(output, **_TEXT["stdout"], line_buffering=os.isatty(1)),
        "stderr": io.TextIOWrapper(
            io.BufferedWriter(io.FileIO(2, "w", closefd=False)),
            **_TEXT["stderr"],
            line_buffering=True,
        ),
    }
    for name, stream in streams.items():
        setattr(sys, name, stream)
        # shutil.get_terminal_size asks this one.
        setattr(sys, f"__{name}__", stream)


class _Output(io.FileIO):
    """stdout, which tells of its first bytes."""

    def __init__(self, on_output: Callable[[], None]) -> None:
        super().__init__(1, "w", closefd=False)
        self._on_output = on_output

    def write(self, data: Any) -> int:
        self._on_output()
        return super().write(data)


def _release() -> None:
    """Let go of the client's files, which others wait for the end of."""
    for name, own in _OWN_STREAMS.items():
        with suppress(OSError, ValueError):
            getattr(sys, name).flush()
        setattr(sys, name, own)
        setattr(sys, f"__{name}__", own)
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    os.close(null)
    os.chdir("/")
