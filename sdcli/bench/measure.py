"""Whole commands, timed in turn: one of each, then again, so that all meet the same weather."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from sdcli.errors import SdcliError


@dataclass(frozen=True, kw_only=True)
class BenchCommand:
    """A command, what is written to its stdin, and the exit code it must end with."""

    name: str
    argv: Sequence[str]
    stdin: str = ""
    exit_code: int = 0


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Wall seconds of each run of a contestant, and what it last printed."""

    name: str
    seconds: list[float] = field(default_factory=list)
    stdout: list[str] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The middle run."""
        return median(self.seconds)

    def ratio(self, other: Timing) -> float:
        """How much longer than `other`: the median over the rounds, each against its own."""
        pairs = zip(self.seconds, other.seconds, strict=True)
        return median(mine / theirs for mine, theirs in pairs)


def python(*arguments: str) -> list[str]:
    """A command of this very interpreter."""
    return [sys.executable, *arguments]


def sdcli(*arguments: str) -> list[str]:
    """The sdcli under test."""
    return python("-m", "sdcli", *arguments)


def installed_script(name: str) -> str | None:
    """A command installed beside this interpreter, or None."""
    path = Path(sys.executable).with_name(name)
    return str(path) if path.exists() else None


def measure(contestants: Sequence[BenchCommand], *, rounds: int) -> list[Timing]:
    """Run all, `rounds` times; a first round that is not counted fills the disk's cache."""
    timings = [Timing(name=contestant.name) for contestant in contestants]
    for turn in range(rounds + 1):
        for contestant, timing in zip(contestants, timings, strict=True):
            seconds, stdout = _run(contestant)
            if turn:
                timing.seconds.append(seconds)
                timing.stdout.append(stdout)
    return timings


def _run(contestant: BenchCommand) -> tuple[float, str]:
    started = time.perf_counter()
    done = subprocess.run(
        contestant.argv,
        input=contestant.stdin,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    seconds = time.perf_counter() - started
    if done.returncode != contestant.exit_code:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise SdcliError(
            f"{contestant.name} ended with {done.returncode}: {last}", code="bench.failed"
        )
    return seconds, done.stdout
