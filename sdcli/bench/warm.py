"""Time one image in the warm worker beside a plain script and a new process."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sdcli.bench.measure import BenchCommand, measure, sdcli_command
from sdcli.bench.scenarios import EXACT, PROMPT, plain_script, to_document

_VARIABLE = "XDG_RUNTIME_DIR"


def time_warm_run(folder: Path, model: str, rounds: int) -> dict[str, Any]:
    """Time one image by a plain script, by sdcli, and by sdcli with --warm.

    `folder` is the local folder of `model`. The worker is one of its own, which the round that is
    not counted starts.
    """
    with tempfile.TemporaryDirectory() as out, _own_worker(out):
        argv = ["generate", PROMPT, "--model", model, *EXACT]
        argv += ["--force", "--json", "--out", f"{out}/sdcli.png"]
        commands = [
            plain_script(folder, out),
            BenchCommand(name="sdcli generate", argv=sdcli_command(*argv)),
            BenchCommand(name="sdcli generate --warm", argv=sdcli_command(*argv, "--warm")),
        ]
        timings = measure(commands, rounds=rounds)
    plain, *ours = (json.loads(timing.stdout[-1]) for timing in timings)
    digests = [[image["pixels_sha256"] for image in document["images"]] for document in ours]
    return to_document("warm", timings, {}) | {
        "same_pixels": all(own == plain["pixels_sha256"] for own in digests),
    }


@contextmanager
def _own_worker(folder: str) -> Iterator[None]:
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = folder
    try:
        yield
    finally:
        subprocess.run(sdcli_command("worker", "stop", "--now"), capture_output=True, check=False)
        if before is None:
            del os.environ[_VARIABLE]
        else:
            os.environ[_VARIABLE] = before
