"""Time commands, each run in a new process.

The commands take turns, so that a change in the load of the machine affects all of them alike.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from sdcli import config
from sdcli.errors import SdcliError


@dataclass(frozen=True, kw_only=True)
class BenchCommand:
    """A command to time, the text for its stdin and the exit code that it must have."""

    name: str
    argv: Sequence[str]
    stdin: str = ""
    exit_code: int = 0


@dataclass(frozen=True, kw_only=True)
class Timing:
    """The wall-clock seconds and the stdout of each counted run of a command."""

    name: str
    seconds: list[float] = field(default_factory=list)
    stdout: list[str] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median of the seconds."""
        return median(self.seconds)

    def ratio(self, baseline: Timing) -> float:
        """Return how many times longer than `baseline` it took.

        It is the median of the ratios of each round, which varies less between benchmarks than the
        ratio of the medians.
        """
        pairs = zip(self.seconds, baseline.seconds, strict=True)
        return median(seconds / baseline_seconds for seconds, baseline_seconds in pairs)


def python_command(*arguments: str) -> list[str]:
    """Return the argv that runs this Python interpreter."""
    return [sys.executable, *arguments]


def sdcli_command(*arguments: str) -> list[str]:
    """Return the argv that runs this sdcli."""
    return python_command("-m", "sdcli", *arguments)


def installed_script(name: str) -> str | None:
    """Return the path of a script in the environment of this interpreter, None if missing."""
    path = Path(sys.executable).with_name(name)
    return str(path) if path.exists() else None


def measure(commands: Sequence[BenchCommand], *, rounds: int, uncounted: int = 1) -> list[Timing]:
    """Run each command once in every round and return their timings, after uncounted rounds.

    Raises SdcliError for a command with an unexpected exit code.
    """
    timings = [Timing(name=command.name) for command in commands]
    # Rounds that are not counted read libraries and weights into the disk cache.
    for number in range(rounds + uncounted):
        for command, timing in zip(commands, timings, strict=True):
            seconds, stdout = _run(command)
            if number >= uncounted:
                timing.seconds.append(seconds)
                timing.stdout.append(stdout)
    return timings


def _environment() -> dict[str, str]:
    """The environment of a timed command: without requests to the hub, and without a worker."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    # Only if a setting may ask for the worker: with a variable, sdcli reads all settings.
    if config.has_settings(os.environ.get("SDCLI_PROFILE")):
        environment["SDCLI_WARM"] = "0"
    return environment


def _run(command: BenchCommand) -> tuple[float, str]:
    """Run a command and return its wall-clock seconds and its stdout."""
    started = time.perf_counter()
    process = subprocess.run(
        command.argv,
        input=command.stdin,
        capture_output=True,
        text=True,
        check=False,
        env=_environment(),
    )
    seconds = time.perf_counter() - started
    if process.returncode != command.exit_code:
        message = (process.stderr.strip().splitlines() or ["no message"])[-1]
        raise SdcliError(
            f"{command.name} failed with exit code {process.returncode}: {message}",
            code="bench.failed",
        )
    return seconds, process.stdout
