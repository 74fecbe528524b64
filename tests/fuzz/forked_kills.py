"""Kill batches in forks of this process, which has the libraries loaded, and resume them.

They begin to work at once, so many more of them can be killed in a minute than of those that
`kills` starts, and more often while they write. All share one process namespace.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

from tests.fuzz.kills import PROMPTS, KillCase, check_folder

_POLL_SECONDS = 0.002


def cases(seed: int, count: int) -> Iterator[KillCase]:
    """Yield `count` cases, the same for the same seed."""
    rng = random.Random(seed)
    for _ in range(count):
        yield KillCase(
            delays=tuple(rng.uniform(0.0, 1.5) for _ in range(rng.randint(1, 4))),
            companions=rng.random() < 0.5,
            containers=False,
        )


def check(case: KillCase) -> None:
    """Run a case. Raises AssertionError for an image that is lost, half or there twice."""
    # Imported before the forks, and not with this module: it takes seconds.
    import sdcli.engine.denoise.generate

    assert sdcli.engine.denoise.generate
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "prompts.txt").write_text("".join(f"a cat {i}\n" for i in range(PROMPTS)))
        for delay in case.delays:
            _wait(_fork(folder, case), delay)
        assert _wait(_fork(folder, case), None) == 0, (case, (folder / "log").read_text())
        check_folder(folder / "out", case)


def _fork(folder: Path, case: KillCase) -> int:
    """Start the batch in a fork; return the number of its process."""
    process = os.fork()
    if not process:
        _run(folder, case)
    return process


def _run(folder: Path, case: KillCase) -> NoReturn:
    from sdcli.cli import main

    code = 1
    try:
        os.chdir(folder)
        log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(log, stream)
        argv = ["batch", "prompts.txt", "-o", "out", "--steps", "1", "--size", "64x64"]
        argv += ["--batch-size", "1"]
        argv += ["--sidecar", "--save-latents", "final"] if case.companions else []
        code = main(argv)
    finally:
        os._exit(code)


def _wait(process: int, seconds: float | None) -> int:
    """Wait for a process, and kill it after so many seconds; return its exit code."""
    end = None if seconds is None else time.monotonic() + seconds
    while end is not None:
        if os.waitpid(process, os.WNOHANG)[0]:
            return 0
        if time.monotonic() >= end:
            os.kill(process, signal.SIGKILL)
            end = None
        time.sleep(_POLL_SECONDS)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
