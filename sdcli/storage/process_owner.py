"""Identify the process that owns a lease or a temporary file, and tell whether it is dead."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE = Path("/proc/self/ns/pid")


@dataclass(frozen=True, kw_only=True)
class ProcessOwner:
    """A process: its id and start time within a boot and a process namespace of a host.

    `place` stands for host, boot and namespace, and is "" where the system does not tell them.
    `start` is in clock ticks since boot.
    """

    host: str
    place: str
    pid: int
    start: str

    def is_known_dead(self) -> bool:
        """Whether the process can be looked up from here, and has ended."""
        # Containers can share a host name and number their processes alike: an id means nothing
        # outside of its namespace.
        if not self.may_be_looked_up():
            return False
        # The system gives the ids of dead processes to new ones, which have another start time.
        return not is_alive(self.pid) or _start_time(self.pid) != self.start

    def may_be_looked_up(self) -> bool:
        """Whether the process belongs to this host, boot and namespace."""
        return bool(self.place) and self.place == current_place()

    def describe(self) -> str:
        """The process in words, for messages."""
        return f"process {self.pid} on {self.host}"

    def to_dict(self) -> dict[str, object]:
        """Return the content of a lease."""
        return {"host": self.host, "place": self.place, "pid": self.pid, "start": self.start}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ProcessOwner:
        """Read the content of a lease; version 0.1.0 wrote no place.

        Raises KeyError, TypeError or ValueError for other content.
        """
        return cls(
            host=str(data["host"]),
            place=str(data.get("place", "")),
            pid=int(data["pid"]),
            start=str(data["start"]),
        )


def current_owner() -> ProcessOwner:
    """This process, also after a fork."""
    start = _start_time("self")
    return ProcessOwner(host=host(), place=current_place(), pid=os.getpid(), start=start)


def current_place() -> str:
    """16 hex digits of this host, boot and process namespace; "" where they are unknown."""
    try:
        # Together they do not repeat: the inode of a namespace may, but only in another boot or
        # after all its processes have died.
        boot, namespace = _BOOT_ID.read_text().strip(), os.stat(_NAMESPACE).st_ino
    except OSError:
        return ""
    return _digest(host(), boot, namespace)


@cache
def _digest(*facts: object) -> str:
    return sha256("\n".join(map(str, facts)).encode()).hexdigest()[:16]


def host() -> str:
    """Return this machine's name, made safe for file names."""
    return re.sub(r"[^\w.]", "_", socket.gethostname())


def is_alive(pid: int) -> bool:
    """Whether a process of this namespace has that id, whoever owns it."""
    if pid <= 0:  # a group of processes
        return False
    try:
        # Signal 0 checks for the process without sending anything.
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        # It belongs to another user.
        return True
    return True


def _start_time(pid: int | str) -> str:
    """The start time of a process in clock ticks since boot, "" on systems without /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    # The second field is the program's name in parentheses, which may contain blanks itself.
    return stat.rpartition(")")[2].split()[19]
