"""Accept the clients of the worker, queue their calls, and hand them to a child one by one.

The parent imports the libraries and never computes anything: no thread of OpenMP and no CUDA
context exists when it forks, and a child that is thrown away costs a tenth of a second.
"""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

from sdcli.server.child import Child
from sdcli.server.protocol import Call, Receiver, try_send
from sdcli.server.runtime_folder import RuntimeFolder, is_own_process
from sdcli.server.session import Main

_REQUEST_SECONDS: Final = 10.0
_CHECK_SECONDS: Final = 30.0
_MAX_CRASHES: Final = 5
_STREAMS: Final = 3


@dataclass(eq=False)
class _Client:
    """A connection: first a request that arrives in pieces, then perhaps a call in the queue."""

    connection: socket.socket
    deadline: float
    receiver: Receiver = field(init=False)
    call: Call | None = None

    def __post_init__(self) -> None:
        self.connection.setblocking(False)
        self.receiver = Receiver(self.connection)

    def close(self) -> None:
        for fd in self.receiver.fds:
            os.close(fd)
        self.receiver.fds = []
        self.connection.close()


class Supervisor:
    """The parent process of a worker."""

    def __init__(self, folder: RuntimeFolder, key: str, main: Main, idle_seconds: float) -> None:
        self._folder = folder
        self._key = key
        self._main = main
        self._idle_seconds = idle_seconds
        self._listener = folder.listen()
        self._inode = folder.socket_inode()
        self._selector = selectors.DefaultSelector()
        self._clients: list[_Client] = []
        self._queue: deque[_Client] = deque()
        self._stoppers: list[socket.socket] = []
        self._child: Child | None = None
        self._facts: dict[str, Any] = {"models": [], "weight_bytes": 0}
        self._calls = self._crashes = 0
        self._started = self._last_use = time.monotonic()
        self._is_stopping = False

    def run(self) -> None:
        """Serve until nobody has called for a while, or somebody asks to stop."""
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._last_use = time.monotonic()
        self._fork()
        while not (self._is_stopping and not self._is_busy()):
            for key, _ in self._selector.select(_seconds_until(self._next_check())):
                key.data()
            self._check_times()
            self._dispatch()
        self._stop_listening()
        self._selector.close()

    def _is_busy(self) -> bool:
        return self._child is not None and self._child.is_busy

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # the client has gone, or too many files are open
            return
        if not is_own_process(connection):
            connection.close()
            return
        client = _Client(connection, time.monotonic() + _REQUEST_SECONDS)
        self._clients.append(client)
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._read(client))

    def _read(self, client: _Client) -> None:
        try:
            is_open = client.receiver.read()
            message = client.receiver.take() if client.call is None else None
            if message is not None:
                self._answer(client, message)
        except BlockingIOError:
            return
        # Whatever the bytes are, they end their own connection and nothing else.
        except (OSError, ValueError, TypeError, KeyError):
            is_open = False
        if not is_open:
            self._drop(client)

    def _drop(self, client: _Client) -> None:
        if client in self._clients:
            self._forget(client)
            client.close()

    def _forget(self, client: _Client) -> None:
        self._selector.unregister(client.connection)
        self._clients.remove(client)
        if client in self._queue:
            self._queue.remove(client)

    def _answer(self, client: _Client, message: Any) -> None:
        """Do what a request asks for. Raises KeyError and its relatives for one that is none."""
        client.connection.setblocking(True)
        if message["do"] == "call":
            self._enqueue(client, message)
        elif message["do"] == "status":
            try_send(client.connection, self._status(message["key"]))
            self._drop(client)
        elif message["do"] == "stop":
            self._stop(client, now=message["now"] is True)
        else:
            raise ValueError(message["do"])

    def _enqueue(self, client: _Client, message: Any) -> None:
        call = Call.from_dict(message["call"])
        if len(client.receiver.fds) != _STREAMS:
            raise ValueError("a call has three streams")
        if message["key"] == self._key:
            client.call = call
            self._queue.append(client)
        elif self._is_busy() or self._queue:
            reason = "it is busy with a command of another version or environment"
            try_send(client.connection, {"event": "refused", "reason": reason})
            self._drop(client)
        else:
            self._is_stopping = True
            # Before the client knows: it starts another worker at once.
            self._stop_listening()
            self._drop(client)

    def _stop(self, client: _Client, *, now: bool) -> None:
        self._is_stopping = True
        self._stop_listening()
        try_send(client.connection, {"pid": os.getpid(), "busy": self._is_busy()})
        # Its end tells the client of that of the worker.
        self._stoppers.append(client.connection)
        self._forget(client)
        if now and self._child:
            self._child.kill()

    def _stop_listening(self) -> None:
        if self._listener.fileno() < 0:
            return
        if self._folder.socket_inode() == self._inode:
            self._folder.unlink()
        self._selector.unregister(self._listener)
        self._listener.close()

    def _fork(self) -> None:
        connections = [client.connection for client in self._clients]
        fds = [fd for client in self._clients for fd in client.receiver.fds]
        # A copy of a client's pipe in the child would keep its reader waiting for the end.
        inherited = [*connections, *self._stoppers, self._listener]
        self._child = Child.fork(self._main, [*(c.fileno() for c in inherited), *fds])
        self._selector.register(self._child.channel, selectors.EVENT_READ, self._read_child)

    def _read_child(self) -> None:
        child = self._child
        assert child is not None
        message = child.read()
        if message is not None:
            self._crashes = 0
            self._last_use = time.monotonic()
            self._facts = {name: message[name] for name in self._facts}
        if child.is_running:
            return
        self._selector.unregister(child.channel)
        self._crashes = 0 if child.reap() else self._crashes + 1
        self._child = None
        if self._crashes >= _MAX_CRASHES:
            self._is_stopping = True
        if not self._is_stopping:
            self._fork()

    def _dispatch(self) -> None:
        """Give the next call to the child if it has nothing to do."""
        while self._queue and self._child and not self._child.is_busy and not self._is_stopping:
            client = self._queue.popleft()
            self._forget(client)
            assert client.call is not None
            self._calls += 1
            self._child.run(client.call, [*client.receiver.fds, client.connection.fileno()])
            client.close()

    def _next_check(self) -> float:
        times = [client.deadline for client in self._clients if client.call is None]
        if not self._is_busy():
            times.append(self._last_use + self._idle_seconds)
        return min([*times, time.monotonic() + _CHECK_SECONDS])

    def _check_times(self) -> None:
        now = time.monotonic()
        for client in [c for c in self._clients if c.call is None and c.deadline <= now]:
            self._drop(client)
        is_idle = not self._is_busy() and not self._queue
        if is_idle and now >= self._last_use + self._idle_seconds:
            self._is_stopping = True
        # Another worker has taken the place of this one.
        if self._listener.fileno() >= 0 and self._folder.socket_inode() != self._inode:
            self._is_stopping = True

    def _status(self, key: str) -> dict[str, Any]:
        now = time.monotonic()
        return {
            "pid": os.getpid(),
            "child": self._child.pid if self._child else None,
            "state": "busy" if self._is_busy() else "idle",
            "waiting": len(self._queue),
            "calls": self._calls,
            "seconds": round(now - self._started, 1),
            "idle_seconds": 0.0 if self._is_busy() else round(now - self._last_use, 1),
            "idle_limit": self._idle_seconds,
            "fits": key == self._key,
            **self._facts,
        }


def _seconds_until(moment: float) -> float:
    return max(0.0, moment - time.monotonic())
