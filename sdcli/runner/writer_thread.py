"""Work beside the drawing: encoding, hashing and writing, in order, in one thread."""

from __future__ import annotations

from collections.abc import Callable
from queue import Queue
from threading import Thread

Work = Callable[[], None]


class WriterThread:
    """A queue of work. What one piece raises, the next call here raises; later pieces are dropped.

    At most `waiting` pieces wait, so that finished pictures do not fill the memory.
    """

    def __init__(self, waiting: int = 16) -> None:
        self._queue: Queue[Work | None] = Queue(waiting)
        self._error: BaseException | None = None
        # A daemon: who is told to stop at once does not wait for it.
        self._thread = Thread(target=self._run, name="sdcli-beside", daemon=True)
        self._thread.start()

    def submit(self, work: Work) -> None:
        """Put the work at the end of the queue."""
        self.raise_pending()
        self._queue.put(work)

    def raise_pending(self) -> None:
        """Raise what a piece of work has raised, once."""
        if self._error:
            error, self._error = self._error, None
            raise error

    def close(self) -> None:
        """Wait for all work that was given."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        self.raise_pending()

    def _run(self) -> None:
        broken = False
        while work := self._queue.get():
            if broken:
                continue
            try:
                work()
            except BaseException as error:  # handed to the one who gave the work
                self._error, broken = error, True
