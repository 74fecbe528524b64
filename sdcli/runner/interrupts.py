"""Handle Ctrl-C: the first one finishes the images in progress, the second one stops."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sdcli import signals


class InterruptHandler:
    """Decides when an interrupt ends a run.

    `on_deferred` is called when a first Ctrl-C waits for images in progress.
    """

    def __init__(self, on_deferred: Callable[[], None] = lambda: None) -> None:
        self._on_deferred = on_deferred
        self._is_deferring = False
        self.interrupted = False

    @contextmanager
    def handling(self) -> Iterator[None]:
        """Handle Ctrl-C within; in other threads than the main one do nothing."""
        # Python delivers signals to the main thread, and lets no other install a handler.
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = {
            number: signal.signal(number, self._on_signal) for number in signals.handled_numbers()
        }
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            signals.forget_handled()

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Let a first Ctrl-C wait for the end of this block."""
        self._is_deferring = True
        try:
            yield
        finally:
            self._is_deferring = False

    def raise_if_interrupted(self) -> None:
        """Raise KeyboardInterrupt if a Ctrl-C was deferred."""
        if self.interrupted:
            raise KeyboardInterrupt

    def _on_signal(self, number: int, frame: Any) -> None:
        is_first = not self.interrupted
        self.interrupted = True
        # While something is imported, no image is in progress yet.
        if self._is_deferring and is_first and not signals.is_importing(frame):
            self._on_deferred()
        else:
            signals.on_signal(number, frame)
