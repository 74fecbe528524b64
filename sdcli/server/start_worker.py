"""Connect to the user's worker, and start one if none is running."""

from __future__ import annotations

import math
import os
import socket
import sys
import time
from typing import TYPE_CHECKING, Final

from sdcli.server.runtime_folder import RuntimeFolder
from sdcli.server.worker_key import IDLE_VARIABLE, PACKAGE, search_path

if TYPE_CHECKING:
    from subprocess import Popen

_IDLE_SECONDS: Final = 900.0
_START_SECONDS: Final = 20.0
_POLL_SECONDS: Final = 0.01


def connect_or_start(folder: RuntimeFolder, key: str) -> socket.socket:
    """Connect to the worker, or to a new one with this key. Raises OSError.

    A new worker accepts connections before it has imported anything large. Raises ValueError for
    a wrong time in IDLE_VARIABLE.
    """
    if connection := folder.connect():
        return connection
    with folder.start_lock():
        # Another client may have started it while this one waited.
        return folder.connect() or _start(folder, key)


def _start(folder: RuntimeFolder, key: str) -> socket.socket:
    process = _spawn(folder, key)
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        if connection := folder.connect():
            return connection
        if process.poll() is not None:
            raise OSError(f"the worker did not start; see {folder.log}")
        time.sleep(_POLL_SECONDS)
    process.kill()
    raise OSError("the worker takes too long to start")


def _spawn(folder: RuntimeFolder, key: str) -> Popen[bytes]:
    """Start the process of the worker, in a session of its own."""
    # Imported here: a client that finds a worker does without it.
    import subprocess

    idle = idle_seconds()
    # -P: the working directory, which may have any file in it, is no place of modules.
    argv = [sys.executable, *_interpreter_flags(), "-P", "-m", "sdcli.worker_process"]
    with open(folder.log, "wb") as log:
        os.chmod(folder.log, 0o600)
        return subprocess.Popen(
            [*argv, folder.path, key, str(idle)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=_environment(),
            start_new_session=True,
        )


def idle_seconds() -> float:
    """Return after how many seconds without a call a worker ends. Raises ValueError."""
    text = os.environ.get(IDLE_VARIABLE) or str(_IDLE_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"{IDLE_VARIABLE}: {text!r} is not a number of seconds")
    return seconds


def _interpreter_flags() -> list[str]:
    from subprocess import _args_from_interpreter_flags  # type: ignore[attr-defined]

    # Private, but what the standard library starts its own processes with.
    flags: list[str] = _args_from_interpreter_flags()
    return flags


def _environment() -> dict[str, str]:
    """The client's own, with the folder of this sdcli if only the working directory led to it."""
    root, entries = os.path.dirname(PACKAGE), search_path()
    if not any(os.path.abspath(entry) == root for entry in sys.path[1:] if entry):
        entries.insert(0, root)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(entries)}
