"""Kill batches at random moments, in process namespaces of one host name, and resume them.

As a script: `python -m tests.fuzz.kills SEED COUNT`. Whatever happens, the folder holds
every image once, and complete.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
PROMPTS = 6


@dataclass(frozen=True, kw_only=True)
class KillCase:
    """Starts of one batch that are killed after so many seconds each, before one that is not.

    With `companions`, images have sidecars and latents; with `containers`, each start is in a
    process namespace of its own, where the system allows that.
    """

    delays: tuple[float, ...]
    companions: bool
    containers: bool


def cases(seed: int, count: int) -> Iterator[KillCase]:
    """Yield `count` cases, the same for the same seed."""
    rng = random.Random(seed)
    for _ in range(count):
        yield KillCase(
            delays=tuple(rng.uniform(0.2, 5.0) for _ in range(rng.randint(1, 3))),
            companions=rng.random() < 0.5,
            containers=rng.random() < 0.5,
        )


def check(case: KillCase) -> None:
    """Run a case. Raises AssertionError for an image that is lost, half or there twice."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "prompts.txt").write_text("".join(f"a cat {i}\n" for i in range(PROMPTS)))
        for delay in case.delays:
            _kill_after(delay, start(folder, case))
        # The leases of a container that is gone are waited for: they are as old as it gets here.
        for lease in folder.glob("out/.sdcli-claims/*"):
            os.utime(lease, (1.0, 1.0))
        last = start(folder, case)
        stdout, stderr = last.communicate()
        assert last.returncode == 0, (case, stdout, stderr)
        check_folder(folder / "out", case)


def start(folder: Path, case: KillCase) -> subprocess.Popen[str]:
    """Start the batch, as process 1 of a namespace if the case wants one."""
    command = [sys.executable, "-m", "sdcli", "batch", "prompts.txt", "-o", "out", "--steps", "1"]
    command += ["--size", "64x64", "--batch-size", "1"]
    if case.companions:
        command += ["--sidecar", "--save-latents", "final"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    return subprocess.Popen(
        [*(namespace() if case.containers else []), *command], cwd=folder, env=environment,
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def namespace() -> list[str]:
    """The command that runs another one in a new process namespace; empty where it may not."""
    command = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command += [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    if not shutil.which("unshare") or subprocess.run([*command, "true"], check=False).returncode:
        return []
    return command


def check_folder(out: Path, case: KillCase) -> None:
    """Check that every image is in the folder once, with its companions, and nothing else."""
    from sdcli.storage.images.codec import read_image_info

    prompts = [read_image_info(path)["record"]["request"]["prompt"] for path in out.glob("*.png")]
    assert sorted(prompts) == [f"a cat {i}" for i in range(PROMPTS)], (case, prompts)
    expected = {"sdcli-journal.jsonl"}
    suffixes = [".png", *([".json", ".latents.safetensors"] if case.companions else [])]
    for path in out.glob("*.png"):
        expected |= {path.with_suffix(suffix).name for suffix in suffixes}
    others = {
        path.name for path in out.iterdir() if not (case.containers and path.suffix == ".part")
    }
    assert others == expected, (case, others ^ expected)


def _kill_after(seconds: float, process: subprocess.Popen[str]) -> None:
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


if __name__ == "__main__":
    for each in cases(int(sys.argv[1]), int(sys.argv[2])):
        check(each)
