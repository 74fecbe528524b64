"""Encode, hash and write images in a second thread while the next ones are generated."""

from __future__ import annotations

from collections.abc import Callable
from queue import Queue
from threading import Thread

Work = Callable[[], None]


class WriterThread:
    """A queue of work for one thread, done in order.

    At most `max_pending` pieces wait, so that finished images do not fill the memory. An exception
    in one piece is raised by the next call of a method, and the pieces after it are dropped.
    """

    def __init__(self, max_pending: int = 16) -> None:
        self._queue: Queue[Work | None] = Queue(max_pending)
        self._error: BaseException | None = None
        # A daemon, so that a second Ctrl-C ends the process without waiting for it.
        self._thread = Thread(target=self._run, name="sdcli-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Work) -> None:
        """Append work to the queue; waits while the queue is full."""
        self.raise_pending()
        self._queue.put(work)

    def raise_pending(self) -> None:
        """Raise the exception of a piece of work, once."""
        if self._error:
            error, self._error = self._error, None
            raise error

    def close(self) -> None:
        """Wait for all submitted work."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        self.raise_pending()

    def _run(self) -> None:
        has_failed = False
        while work := self._queue.get():
            if has_failed:
                # Still emptied, or submit() would wait forever on a full queue.
                continue
            try:
                work()
            except BaseException as error:  # raised by the thread that submits
                self._error, has_failed = error, True
