"""Ctrl-C in two steps: the first lets the images in flight be finished, the second does not."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class InterruptHandler:
    """Whether to stop. `tell` is called once, when a first Ctrl-C has to wait for images."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self._on_deferred = tell
        self._deferred = False
        self.interrupted = False

    @contextmanager
    def handling(self) -> Iterator[None]:
        """Answer Ctrl-C here, in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, self._on_signal)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """While images are in flight, which a first Ctrl-C lets be finished."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def raise_if_interrupted(self) -> None:
        """Raise KeyboardInterrupt if it was asked for."""
        if self.interrupted:
            raise KeyboardInterrupt

    def _on_signal(self, number: int, frame: Any) -> None:
        waits = self._deferred and not self.interrupted
        self.interrupted = True
        if not waits:
            raise KeyboardInterrupt
        self._on_deferred()
