"""Run a command in the worker, as if it ran in this process."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from socket import socket
from types import FrameType
from typing import Any, Final

from sdcli import signals
from sdcli.server.protocol import Call, Receiver, send, try_send
from sdcli.server.runtime_folder import RuntimeFolder
from sdcli.server.start_worker import connect_or_start
from sdcli.server.warm_commands import is_quiet
from sdcli.server.worker_key import worker_key

_PATIENCE_SECONDS: Final = 2.0
_INTERRUPTED: Final = 130
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class WorkerUnavailable(Exception):
    """The command did not run, and can run in this process."""


class WorkerDied(Exception):
    """The worker ended within the command, which has had effects."""


def run(arguments: Sequence[str]) -> int | None:
    """Run a command in the worker and return its exit code.

    Returns None for a command that was interrupted before it began; `signals` has counted it.
    Raises WorkerUnavailable or WorkerDied.
    """
    if signals.was_interrupted():
        return None
    try:
        fill_streams()
        # Before the wait for another client that starts a worker, and for the new one.
        with (passed := _PassedSignals()).handled():
            return _run(_make_call(arguments), passed)
    except KeyboardInterrupt:
        return None
    except (OSError, ValueError) as error:
        raise WorkerUnavailable(str(error)) from error


def _run(call: Call, passed: _PassedSignals) -> int:
    key = worker_key()
    folder = RuntimeFolder.open()
    # A worker may end by itself at the moment in which it is asked.
    for _ in range(2):
        with connect_or_start(folder, key) as connection:
            run_call = _RunningCall(connection, passed)
            if run_call.begin(call, key):
                return run_call.finish()
    raise WorkerUnavailable("it ended before the command began")


def fill_streams() -> None:
    """Open /dev/null for each standard stream that the parent closed."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            # The lowest number that is free, which is this one.
            os.open(os.devnull, os.O_RDWR)


def _make_call(arguments: Sequence[str]) -> Call:
    umask = os.umask(0o077)
    os.umask(umask)
    return Call(
        arguments=list(arguments),
        folder=os.getcwd(),
        umask=umask,
        environment=dict(os.environ),
        ignored=[n for n in _SIGNALS if signal.getsignal(n) is signal.SIG_IGN],
    )


class _PassedSignals:
    """The signals of this process: they end the wait for a worker, then go to the command."""

    def __init__(self) -> None:
        self.was_passed = False
        self._connection: socket | None = None

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Handle signals within. Raises KeyboardInterrupt until the command has begun."""
        previous = {n: signal.signal(n, self._on_signal) for n in signals.handled_numbers()}
        try:
            # One that came before, which was only counted.
            signals.raise_if_interrupted()
            yield
        finally:
            signals.cancel_retry()
            for number, handler in previous.items():
                signal.signal(number, handler)

    def pass_on(self, connection: socket) -> None:
        """Send signals to the command from now on, which handles them itself."""
        self._connection = connection

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._connection:
            self.was_passed = True
            try_send(self._connection, {"signal": number})
        else:
            signals.count()
            signals.raise_when_imported(frame)


class _RunningCall:
    """A command that the worker was asked to run, and its state."""

    def __init__(self, connection: socket, passed: _PassedSignals) -> None:
        self._connection = connection
        self._receiver = Receiver(connection)
        self._passed = passed

    def begin(self, call: Call, key: str) -> bool:
        """Wait until the command runs; False if the worker ended or is replaced.

        Raises WorkerUnavailable, OSError or ValueError.
        """
        try:
            send(self._connection, {"do": "call", "key": key, "call": call.to_dict()}, range(3))
            if not is_quiet(call.arguments):
                self._tell_of_waiting()
            answer = self._receiver.wait()
        except (BrokenPipeError, ConnectionResetError):
            return False
        if answer and answer["event"] == "refused":
            raise WorkerUnavailable(str(answer["reason"]))
        if answer is None or answer["event"] != "begun":
            return False
        self._passed.pass_on(self._connection)
        return True

    def finish(self) -> int:
        """Wait for the end, and return the exit code. Raises WorkerUnavailable or WorkerDied."""
        has_effects = False
        while message := self._receive():
            if message["event"] == "exit":
                return int(message["code"])
            has_effects = has_effects or message["event"] == "effect"
        if self._passed.was_passed:
            return _INTERRUPTED
        if has_effects:
            raise WorkerDied
        raise WorkerUnavailable("it ended unexpectedly")

    def _receive(self) -> Any:
        try:
            return self._receiver.wait()
        except ConnectionResetError:
            return None

    def _tell_of_waiting(self) -> None:
        if not (sys.stderr and sys.stderr.isatty()):
            return
        if not select.select([self._connection], [], [], _PATIENCE_SECONDS)[0]:
            from sdcli.terminal.output import write_line

            write_line("sdcli: waiting for the warm worker", sys.stderr)
