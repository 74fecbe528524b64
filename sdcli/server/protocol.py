"""Send and receive messages between the client and the worker: JSON with a length before it."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

MAX_BYTES: Final = 16 << 20
"""More than the arguments and the environment of a process can be."""

MAX_FDS: Final = 8
_LENGTH: Final = struct.Struct("!I")
_CHUNK: Final = 1 << 16


# Not a dataclass: the client starts faster without that module.
class Call(NamedTuple):
    """A command to run as if the client ran it itself. `ignored` are signals that it ignores."""

    arguments: list[str]
    folder: str
    umask: int
    environment: dict[str, str]
    ignored: list[int]

    def to_dict(self) -> dict[str, Any]:
        """Return the call as JSON."""
        return self._asdict()

    @classmethod
    def from_dict(cls, data: Any) -> Call:
        """Check a call that came from outside. Raises ValueError, TypeError or KeyError."""
        call = cls(**{name: data[name] for name in cls._fields})
        texts = [*call.arguments, call.folder, *call.environment, *call.environment.values()]
        # bool is an int, which does no harm here.
        numbers = [call.umask, *call.ignored]
        if not all(isinstance(text, str) and "\0" not in text for text in texts):
            raise ValueError("a text is none")
        if not all(isinstance(number, int) and 0 <= number <= 0o777 for number in numbers):
            raise ValueError("a number is none")
        return call


def send(connection: socket.socket, message: object, fds: Sequence[int] = ()) -> None:
    """Send a message, and copies of open files with it. Raises OSError."""
    data = json.dumps(message).encode()
    frame = _LENGTH.pack(len(data)) + data
    sent = socket.send_fds(connection, [frame], fds) if fds else connection.send(frame)
    if sent < len(frame):
        connection.sendall(frame[sent:])


def try_send(connection: socket.socket, message: object) -> None:
    """Send a message to somebody who may be gone."""
    with suppress(OSError):
        send(connection, message)


class Receiver:
    """Put the messages of a connection together from the pieces that arrive.

    `fds` are the open files that came with them; who takes them closes them.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._data = b""
        self.fds: list[int] = []

    def read(self) -> bool:
        """Read what has arrived, or wait for it; False at the end. Raises OSError or ValueError."""
        data, fds, *_ = socket.recv_fds(self._connection, _CHUNK, MAX_FDS)
        self.fds += fds
        self._data += data
        if len(self._data) > MAX_BYTES + _CHUNK or len(self.fds) > MAX_FDS:
            raise ValueError("that is too much")
        return bool(data)

    def take(self) -> Any:
        """Return the next message, None if it is not complete. Raises ValueError."""
        if len(self._data) < _LENGTH.size:
            return None
        [length] = _LENGTH.unpack(self._data[: _LENGTH.size])
        if length > MAX_BYTES:
            raise ValueError("the message is too long")
        end = _LENGTH.size + length
        if len(self._data) < end:
            return None
        data, self._data = self._data[_LENGTH.size : end], self._data[end:]
        try:
            return json.loads(data)
        except RecursionError as error:
            raise ValueError("the message is nested too deeply") from error

    def wait(self) -> Any:
        """Wait for the next message, and return None at the end. Raises OSError or ValueError."""
        while (message := self.take()) is None:
            if not self.read():
                return None
        return message
