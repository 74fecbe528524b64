"""Time a batch in two worker processes against the same batch in one."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sdcli.bench.measure import BenchCommand, measure, sdcli_command
from sdcli.bench.scenarios import SEED, Document, to_document

WORKERS = 2


def time_workers(model: str, prompts: Sequence[str], rounds: int) -> Document:
    """Time one image for each prompt, one by one, in one process and in two.

    Each has all of the CPU's cores, so that the ratio tells what processes gain over threads.
    """
    with tempfile.TemporaryDirectory() as folder:
        timings = measure(worker_commands(model, prompts, folder), rounds=rounds)
    runs = [json.loads(timing.stdout[-1]) for timing in timings]
    return to_document("workers", timings, {}) | {
        "prompts": len(prompts),
        "images": [len(run["images"]) for run in runs],
    }


def worker_commands(model: str, prompts: Sequence[str], folder: str) -> list[BenchCommand]:
    """The commands to time, in a folder for their files."""
    file = Path(folder, "prompts.txt")
    file.write_text("".join(f"{prompt}\n" for prompt in prompts), "utf-8")
    # Another number of threads rounds otherwise: the pixels are close, not equal.
    shared = ["batch", str(file), "--model", model, "--seed", str(SEED), "--device", "cpu"]
    shared += ["--dtype", "float32", "--batch-size", "1", "--redo", "--quiet", "--json"]
    return [
        BenchCommand(
            name=f"sdcli batch{' ' if options else ''}{' '.join(options)}",
            argv=sdcli_command(*shared, *options, "--out", f"{folder}/{len(options)}"),
        )
        for options in ((), ("--workers", str(WORKERS)))
    ]
