"""Describe the machine that a benchmark runs on."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any

from sdcli.versions import library_versions

_NAME = re.compile(r"^model name\s*:\s*(.+)$", re.MULTILINE)


def describe_machine() -> dict[str, Any]:
    """Return the CPU, its cores, the load before the benchmark, and the versions of libraries."""
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if _has_affinity() else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "load": round(os.getloadavg()[0], 2),
        "versions": library_versions(),
    }


def _has_affinity() -> bool:
    # macOS has none.
    return hasattr(os, "sched_getaffinity")


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    found = _NAME.search(info.read_text("utf-8", "replace")) if info.exists() else None
    return found[1] if found else platform.processor() or platform.machine()
