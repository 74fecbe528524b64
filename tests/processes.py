"""Look at other processes, and wait for them."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


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
