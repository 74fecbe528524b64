"""Run a worker of this machine: `python -m sdcli.distributed.worker_process DESCRIPTOR`.

It receives blocks of jobs through an open socket, and ends when that is closed.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
from collections import deque
from multiprocessing.connection import Connection
from threading import Lock

from sdcli import signals
from sdcli.distributed.block_worker import BlockWorker
from sdcli.distributed.messages import Block, Failed, Message, Ready, WorkerSettings
from sdcli.errors import ExitCode, SdcliError


class Channel:
    """The worker's end of the connection. A parent that is gone is one that says stop."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = Lock()
        self._blocks: deque[Block] = deque()
        self._is_stopping = False

    def receive_settings(self) -> WorkerSettings:
        """Wait for the first message."""
        settings: WorkerSettings = self._connection.recv()
        return settings

    def tell(self, message: Message) -> None:
        """Send a message, if there is still somebody to read it."""
        try:
            # The thread that saves images sends, too.
            with self._lock:
                self._connection.send(message)
        except OSError:
            self._is_stopping = True

    def next_block(self) -> Block | None:
        """Wait for jobs; None at the end."""
        while not self._is_stopping and not self._blocks:
            self._receive()
        return None if self._is_stopping else self._blocks.popleft()

    def is_stopping(self) -> bool:
        """Whether no further batch is to begin."""
        while not self._is_stopping and self._connection.poll():
            self._receive()
        return self._is_stopping

    def _receive(self) -> None:
        try:
            message = self._connection.recv()
        except (EOFError, OSError):
            self._is_stopping = True
            return
        if isinstance(message, Block):
            self._blocks.append(message)
        else:
            self._is_stopping = True


def serve(channel: Channel) -> None:
    """Make blocks until there are no more; an error that ends the run is the last message."""
    settings = channel.receive_settings()
    try:
        worker = BlockWorker(settings, channel.tell, channel.is_stopping)
    except SdcliError as error:
        channel.tell(Failed.from_error(error))
        return
    try:
        channel.tell(Ready())
        while block := channel.next_block():
            worker.make(block.jobs)
        worker.flush()
    except (SdcliError, KeyboardInterrupt) as error:
        worker.abort(error)
    finally:
        worker.close()


def main(descriptor: int) -> None:
    """Serve the parent process that passed the descriptor of a socket."""
    # The interpreter's last collection would walk every object of torch: 0.8 s.
    atexit.register(gc.freeze)
    signals.install()
    try:
        signals.start()
        os.set_inheritable(descriptor, False)
        serve(Channel(Connection(descriptor)))
    except KeyboardInterrupt:
        # Before the run, or a second one, which does not wait until everything is saved.
        sys.exit(ExitCode.INTERRUPTED)
    finally:
        signals.ignore()


if __name__ == "__main__":
    main(int(sys.argv[1]))
