"""Fork the process that runs the calls, and talk to it."""

from __future__ import annotations

import atexit
import os
import signal
import socket
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from sdcli.server.protocol import Call, Receiver, send
from sdcli.server.session import Main, Session


class Child:
    """A process that runs one call at a time, seen from its parent."""

    def __init__(self, pid: int, channel: socket.socket) -> None:
        self.pid = pid
        self.channel = channel
        self.is_busy = False
        self.is_running = True
        self._receiver = Receiver(channel)
        self._is_last = False

    @classmethod
    def fork(cls, main: Main, inherited: Sequence[int]) -> Child:
        """Fork a child, which closes the files that are its parent's alone."""
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            for fd in inherited:
                os.close(fd)
            _live(theirs, main)
        theirs.close()
        return cls(pid, ours)

    def run(self, call: Call, fds: Sequence[int]) -> None:
        """Hand over a call with its streams and the connection of its client."""
        self.is_busy = True
        # If it is dead, its channel says so, and the client sees the end of its connection.
        with suppress(OSError):
            send(self.channel, call.to_dict(), fds)

    def read(self) -> dict[str, Any] | None:
        """Read what the child reports at the end of a call; None at its own end."""
        try:
            message: dict[str, Any] | None = self._receiver.wait()
        except OSError:
            message = None
        if message is None:
            self.is_running = False
        else:
            self._is_last = message["last"]
            self.is_busy = self._is_last
        return message

    def reap(self) -> bool:
        """Wait for a child whose channel has closed; False if it crashed."""
        self.channel.close()
        self.kill()
        os.waitpid(self.pid, 0)
        self.is_busy = False
        return self._is_last

    def kill(self) -> None:
        """End the child at once. Its client learns it from the end of the connection."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


def _live(channel: socket.socket, main: Main) -> None:
    """Be the child; never returns into the code of the parent."""
    try:
        Session(channel, main).run()
        # The temporary folders of models in single files.
        atexit._run_exitfuncs()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)
