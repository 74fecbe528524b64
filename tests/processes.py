"""Look at other processes, and wait for them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sdcli import signals
from sdcli.cli import main


def children(pid: int) -> list[int]:
    """The ids of the child processes that the main thread of a process has started."""
    return [*map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


def is_gone(pid: int) -> bool:
    """Whether a process has ended, whether or not anybody has noticed."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def read_line(process: subprocess.Popen[str]) -> str:
    """The next line that a process prints, and no byte more.

    Its stream would keep the lines that come with it, and `communicate` would not have them.
    """
    assert process.stdout
    line = b""
    while not line.endswith(b"\n") and (byte := os.read(process.stdout.fileno(), 1)):
        line += byte
    return line.decode()


def wait_until(condition: Callable[[], Any], seconds: float = 240) -> Any:
    """Wait for something to be true, and return it."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return value


def start_fork(*argv: str, **more: Any) -> subprocess.Popen[str]:
    """Start sdcli in a fork of this process, which has imported torch: that takes seconds."""
    # The fork has its streams and its folder when Popen calls this, and runs no other program.
    be_sdcli = partial(_be_sdcli, argv)
    with warnings.catch_warnings():
        # Newer Pythons warn of threads, which hold nothing that the fork needs.
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        return subprocess.Popen([sys.executable], text=True, preexec_fn=be_sdcli, **more)


def _be_sdcli(argv: Sequence[str]) -> None:
    code = 1
    try:
        # One of the files that are closed tells the parent that this process has begun.
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
        # As in a Python that starts.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        signals.IS_PROGRAM = True
        signals.install()
        code = main(argv)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)
