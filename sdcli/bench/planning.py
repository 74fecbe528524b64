"""Time how long it takes to plan a batch, and measure the memory."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Final

from sdcli.bench.measure import BenchCommand, Timing, measure, python_command
from sdcli.bench.peak_memory import PEAK_GB
from sdcli.bench.scenarios import Document, to_document

LINES: Final = 10_000
MILLION: Final = 1_000_000

_PLAN: Final = (
    PEAK_GB
    + """
import contextlib, io, json, sys, time
from sdcli.cli import main
with contextlib.redirect_stdout(io.StringIO()):
    code = main(sys.argv[1:])
print(json.dumps({"cpu": time.process_time(), "peak_gb": peak_gb()}))
sys.exit(code)
"""
)
"""Plan in this process, and print the seconds of CPU time and the peak memory."""


def time_planning(rounds: int, lines: int = LINES) -> Document:
    """Time dry runs of one line, of many in each format, and of one prompt with many seeds."""
    with tempfile.TemporaryDirectory() as folder:
        commands = list(planning_commands(Path(folder), lines))
        return describe_planning(measure(commands, rounds=rounds), lines)


def time_million() -> Document:
    """Time a dry run of a million lines, once: it takes a minute."""
    with tempfile.TemporaryDirectory() as folder:
        # Without the files of the other formats.
        commands = list(islice(planning_commands(Path(folder), MILLION), 2))
        timings = measure(commands, rounds=1, uncounted=0)
        return describe_planning(timings, MILLION, scenario="million")


def planning_commands(folder: Path, lines: int) -> Iterator[BenchCommand]:
    """Yield the commands to time, after writing their files into a folder."""
    rows = [(f"a cat {number}", number, 10 + number % 3) for number in range(lines)]
    texts = {
        "jsonl": (json.dumps({"prompt": p, "seed": s, "steps": n}) for p, s, n in rows),
        "csv": ("prompt,seed,steps", *(f"{p},{s},{n}" for p, s, n in rows)),
        "txt": (f"{p} --seed {s} --steps {n}" for p, s, n in rows),
    }
    one = _write(folder / "one.txt", ["a cat"])
    yield _dry_run("one line", one)
    for suffix, text in texts.items():
        yield _dry_run(f"{lines} lines of {suffix}", _write(folder / f"many.{suffix}", text))
    yield _dry_run(f"{lines} seeds", one, "--seed", f"1..{lines}")


def describe_planning(
    timings: Sequence[Timing], lines: int, scenario: str = "planning"
) -> Document:
    """Return the document of timings: the first command is what planning nothing takes."""
    runs = [[json.loads(text) for text in timing.stdout] for timing in timings]
    phases = {
        timing.name: {key: round(median(run[key] for run in own), 3) for key in own[0]}
        for timing, own in zip(timings, runs, strict=True)
    }
    start, *others = phases.values()
    microseconds = [round((own["cpu"] - start["cpu"]) / lines * 1e6, 1) for own in others]
    return to_document(scenario, timings, phases) | {"microseconds_per_image": microseconds}


def _write(path: Path, lines: Iterable[str]) -> str:
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return str(path)


def _dry_run(name: str, file: str, *options: str) -> BenchCommand:
    out = str(Path(file).with_name("out"))
    argv = ["batch", file, "--dry-run", "--quiet", "--out", out, *options]
    return BenchCommand(name=name, argv=python_command("-c", _PLAN, *argv))
