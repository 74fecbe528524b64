"""Choose how torch's threads wait for each other, before torch is imported.

By default they spin, which is fastest on an idle machine. Where another process takes a core, the
threads spin while they wait for the one that has none: 20 steps of the embedded model took 2
minutes in place of 6 seconds beside 25 busy processes on 2 cores. The numbers stay the same.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import Final

_VARIABLE: Final = "OMP_WAIT_POLICY"

# Whoever sets one of these has chosen already.
_CHOICES: Final = (_VARIABLE, "GOMP_SPINCOUNT", "KMP_BLOCKTIME")

_BUSY_LOAD: Final = 0.5
"""Average number of running processes over a minute that is no mere coincidence."""


def choose_thread_waiting(environment: MutableMapping[str, str]) -> str | None:
    """Let threads of OpenMP sleep while they wait if this machine or container is short of cores.

    Returns the reason, None if they spin. Without effect after torch has been imported.
    """
    if any(name in environment for name in _CHOICES):
        return None
    reason = busy_reason(_read("/proc/loadavg")) or quota_reason(
        _read("/sys/fs/cgroup/cpu.max"), os.cpu_count() or 1
    )
    if reason:
        environment[_VARIABLE] = "PASSIVE"
    return reason


def busy_reason(load: str) -> str | None:
    """Return a reason if the text of /proc/loadavg shows other processes at work."""
    match load.split():
        # The second number counts this process, too: "0.52 0.40 0.30 3/512 4711".
        case [average, _, _, running, *_] if float(average) >= _BUSY_LOAD:
            others = int(running.partition("/")[0]) - 1
            return f"other processes are running: {others}" if others > 0 else None
    return None


def quota_reason(limit: str, cpus: int) -> str | None:
    """Return a reason if the text of a cgroup's cpu.max allows less than `cpus` cores."""
    match limit.split():
        # Microseconds of computing in each period, or "max": "150000 100000".
        case [quota, period] if quota != "max" and int(quota) < cpus * int(period):
            cores = int(quota) / int(period)
            return f"this container may use {cores:g} of {cpus} cores"
    return None


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""
