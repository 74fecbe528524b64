"""Terminals of any width that keep what is written on them."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Thread
from typing import Any

_INHERITED = ("COLUMNS", "LINES", "NO_COLOR", "MANPAGER", "PAGER")


class Terminal:
    """A terminal of so many columns; close its `follower` before reading its `text`."""

    def __init__(self, columns: int = 80) -> None:
        self._leader, self.follower = pty.openpty()
        fcntl.ioctl(self.follower, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        self._written = b""
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while data := os.read(self._leader, 65536):
                self._written += data
        except OSError:  # the end of a terminal on Linux
            pass

    def type(self, keys: str) -> None:
        os.write(self._leader, keys.encode())

    def text(self) -> str:
        """Everything that was written, once nothing has it open."""
        self._reader.join()
        os.close(self._leader)
        return self._written.decode().replace("\r\n", "\n")


def without_styles(text: str) -> str:
    """The text without bold, colours and the like."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def run_python(
    argv: Sequence[str],
    *,
    columns: int = 80,
    keys: str = "",
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """Run Python in a terminal; returns the exit code and what the terminal shows."""
    terminal = Terminal(columns)
    terminal.type(keys)
    own = {name: value for name, value in os.environ.items() if name not in _INHERITED}
    own |= {"PYTHONPATH": os.pathsep.join(sys.path), "TERM": "xterm", **(env or {})}
    follower = terminal.follower
    ran = subprocess.run(
        [sys.executable, *argv], stdin=follower, stdout=follower, stderr=follower, cwd=cwd, env=own
    )
    os.close(follower)
    return ran.returncode, terminal.text()


def run_sdcli(*argv: str, **options: Any) -> tuple[int, str]:
    """Run sdcli in a terminal, as `run_python` does."""
    return run_python(["-m", "sdcli", *argv], **options)
