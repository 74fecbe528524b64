"""The peak memory that a timed script tells is its own."""

from __future__ import annotations

import subprocess
import sys

from sdcli.bench.peak_memory import PEAK_GB

PARENT = f"""
import subprocess, sys
block = b"x" * 300_000_000
subprocess.run([sys.executable, "-c", {PEAK_GB + "print(peak_gb())"!r}], check=True)
"""


def run(script: str) -> float:
    return float(subprocess.run([sys.executable, "-c", script], capture_output=True).stdout)


def test_a_large_parent_does_not_count() -> None:
    assert 0.003 < run(PARENT) < 0.1


def test_own_memory_counts() -> None:
    assert run(PEAK_GB + "block = b'x' * 300_000_000\nprint(peak_gb())") > 0.3
