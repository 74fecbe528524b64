"""End the program on Ctrl-C, SIGTERM and SIGHUP, but never in the middle of an import.

An exception that a signal raises within an import comes out of it as any other one, or not at all,
and leaves half a module behind.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from types import FrameType
else:
    # The import of `signal` could be interrupted itself; its built-in half is there already.
    import _signal as signal

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_RETRY_SECONDS = 0.02
_MESSAGE = b"sdcli: error: interrupted\n"

_signals = 0
"""How many signals were received since `install`."""
_is_starting = False
"""Whether signals are only counted, until `start` is called."""
_previous: dict[int, signal._HANDLER] = {}


def _is_program() -> bool:
    name = os.path.basename(sys.argv[0]) if getattr(sys, "argv", None) else ""
    # Until the package is imported, `-m` stands for the path of its module.
    return name == "sdcli" or (name == "-m" and _module_argument() == "sdcli")


def _module_argument() -> str:
    arguments = sys.orig_argv
    position = arguments.index("-m") if "-m" in arguments[:-1] else -1
    return arguments[position + 1] if position >= 0 else ""


IS_PROGRAM = _is_program()
"""Whether this process is the command `sdcli` or `python -m sdcli`, not a user of the library."""


def install() -> None:
    """Handle the signals that end a program, except those that the parent process ignores.

    `nohup` ignores SIGHUP, and a shell SIGINT for a job in the background. Call it in the main
    thread, and then `start`, where a KeyboardInterrupt is handled.
    """
    global _is_starting, _signals
    _is_starting = True
    if not IS_PROGRAM:
        # The caller has handled the signal that ended an earlier run. A program calls this twice,
        # and a signal between the two counts.
        _signals = 0
    for number in _NUMBERS:
        handler = signal.getsignal(number)
        if handler in (signal.SIG_DFL, signal.default_int_handler):
            _previous[number] = signal.signal(number, on_signal)


def start() -> None:
    """Raise KeyboardInterrupt for signals from now on, and for one since `install`."""
    global _is_starting
    _is_starting = False
    raise_if_interrupted()


def restore() -> None:
    """Bring back the handlers that `install` found, and forget the signals."""
    global _signals
    cancel_retry()
    while _previous:
        number, handler = _previous.popitem()
        signal.signal(number, handler)
    _signals = 0


def ignore() -> None:
    """Ignore further signals: the program is ending already."""
    cancel_retry()
    for number in _NUMBERS:
        if signal.getsignal(number) is on_signal:
            signal.signal(number, signal.SIG_IGN)


def cancel_retry() -> None:
    """Raise no KeyboardInterrupt for a signal that came within an import; it is counted."""
    if signal.getsignal(signal.SIGALRM) is _retry:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def count() -> None:
    """Count a signal that another handler received."""
    global _signals
    _signals += 1


def forget_handled() -> None:
    """Forget the signals that a run of the library handled: its caller goes on.

    A command forgets its own with `restore`.
    """
    global _signals
    if not _previous:
        _signals = 0


def was_interrupted() -> bool:
    """Whether a signal was received since `install`."""
    return _signals > 0


def raise_if_interrupted() -> None:
    """Raise KeyboardInterrupt if a signal was received: a library may have made an error of it."""
    if _signals:
        raise KeyboardInterrupt


def handled_numbers() -> list[int]:
    """The signals that a run may handle in its own way: SIGINT, and what `install` handles."""
    return [
        number
        for number in _NUMBERS
        if signal.getsignal(number) in (on_signal, signal.default_int_handler)
    ]


def on_signal(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, now or when the import that is in progress has ended."""
    global _signals
    _signals += 1
    if _signals > 1 and is_importing(frame):
        # The user does not want to wait for it, and nothing is being made yet.
        os.write(2, _MESSAGE)
        os._exit(130)
    if not _is_starting:
        raise_when_imported(frame)


def raise_when_imported(frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt unless an import is in progress; otherwise soon after its end."""
    if not is_importing(frame):
        raise KeyboardInterrupt
    signal.signal(signal.SIGALRM, _retry)
    signal.setitimer(signal.ITIMER_REAL, _RETRY_SECONDS)


def _retry(number: int, frame: FrameType | None) -> None:
    raise_when_imported(frame)


def is_importing(frame: FrameType | None) -> bool:
    """Whether a frame is part of an import, or runs while one is in progress."""
    while frame:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
