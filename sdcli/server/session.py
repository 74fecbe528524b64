"""Run calls one after the other, in a child of the worker that keeps the models loaded."""

from __future__ import annotations

import atexit
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Self

from sdcli.runner.pipeline_cache import DEFAULT_CACHE
from sdcli.server.call_context import client_context, ignore_signals
from sdcli.server.effects import EffectWatcher
from sdcli.server.process_caches import clear_caches
from sdcli.server.protocol import Call, Receiver, try_send

_MAX_CALLS: Final = 1000
_GRACE_SECONDS: Final = 30.0
_INTERNAL, _INTERRUPTED = 1, 130
# Success, a mistake of the user and a closed pipe leave the libraries as they were.
_HARMLESS: Final = (0, 2, 141)
_SIGNALS: Final = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})

Main = Callable[[list[str]], int]
"""The command line: arguments to an exit code."""


class Session:
    """The calls of one child. It is thrown away after errors and many calls."""

    def __init__(self, channel: socket.socket, main: Main) -> None:
        self._channel = channel
        self._main = main
        self._effects = EffectWatcher()

    def run(self) -> None:
        """Run the calls that the parent sends, until it is gone or this child is worn out."""
        ignore_signals()
        receiver = Receiver(self._channel)
        for number in range(1, _MAX_CALLS + 1):
            try:
                message = receiver.wait()
            except ConnectionResetError:  # the parent has been killed
                return
            if message is None:
                return
            *fds, client = receiver.fds
            receiver.fds = []
            with socket.socket(fileno=client) as connection:
                code = self._run_call(Call.from_dict(message), fds, connection)
            is_last = code not in _HARMLESS or number == _MAX_CALLS
            try_send(self._channel, {**_cache_facts(), "last": is_last})
            if is_last:
                return
            clear_caches()
            DEFAULT_CACHE.end_run()

    def _run_call(self, call: Call, fds: list[int], connection: socket.socket) -> int:
        code: int | None = None
        try:
            with (
                ClientWatch(connection) as watch,
                client_context(call, fds, self._effects.notice),
            ):
                # Not before: signals are ignored between the calls.
                watch.begin()
                # Before anything has an effect: the client must not ask for it again.
                try_send(connection, {"event": "begun"})
                code = _INTERNAL
                self._effects.watch(
                    call.arguments, lambda: try_send(connection, {"event": "effect"})
                )
                code = self._run_main(call.arguments)
        except KeyboardInterrupt:
            code = _INTERRUPTED
        except OSError as error:
            if code is None:
                try_send(connection, {"event": "refused", "reason": str(error)})
                return 0
        finally:
            self._effects.stop()
        try_send(connection, {"event": "exit", "code": code})
        return code if code is not None else _INTERNAL

    def _run_main(self, arguments: list[str]) -> int:
        try:
            return int(self._main(arguments))
        except KeyboardInterrupt:
            return _INTERRUPTED
        except BaseException:
            from sdcli.terminal.output import print_traceback

            print_traceback(*sys.exc_info())
            return _INTERNAL


class ClientWatch:
    """Passes a client's signals on to the main thread, and ends the call of a dead client."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._receiver = Receiver(connection)
        self._main_thread = threading.main_thread().ident or 0
        self._is_over = False
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        return self

    def begin(self) -> None:
        """Watch from now on, also for what has come already."""
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        with suppress(OSError):  # the client may have gone already
            self._connection.shutdown(socket.SHUT_RD)
        if self._thread.ident:
            self._thread.join()

    def _watch(self) -> None:
        while (message := self._receive()) is not None:
            if not self._is_over and message.get("signal") in _SIGNALS:
                # To the main thread: it may wait in a system call, which must end.
                signal.pthread_kill(self._main_thread, message["signal"])
        if not self._is_over:
            self._end_call()

    def _receive(self) -> Any:
        try:
            return self._receiver.wait()
        except (OSError, ValueError):
            return None

    def _end_call(self) -> None:
        """Interrupt the call, and end the process if the call does not end."""
        signal.pthread_kill(self._main_thread, signal.SIGTERM)
        end = time.monotonic() + _GRACE_SECONDS
        while time.monotonic() < end:
            if self._is_over:
                return
            time.sleep(0.05)
        # The temporary folders of models in single files.
        with suppress(Exception):
            atexit._run_exitfuncs()
        os._exit(_INTERNAL)


def _cache_facts() -> dict[str, Any]:
    """What is loaded, for `sdcli worker status`."""
    models = [spec.model for spec in DEFAULT_CACHE.specs]
    return {"models": models, "weight_bytes": DEFAULT_CACHE.weight_bytes}
