"""The README's tour, run as it is written: `python -m tests.tour FOLDER` leaves its files there.

It also writes the README's pictures.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from sdcli.cli import main

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PICTURES = ROOT / ".readme"
_SHELL = re.compile(r"[|<>;&$*]")


def commands(text: str | None = None) -> list[str]:
    """The lines of the tour's `sh` blocks; a line that ends in a backslash goes on in the next."""
    tour = (text or README.read_text("utf-8")).split("## A tour\n")[1].split("\n## ")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```", tour, flags=re.M | re.S)
    lines = "".join(blocks).replace("\\\n", "").splitlines()
    return [line for line in lines if line.strip()]


def run(line: str, folder: Path) -> int:
    """Run a line in the current folder: sdcli alone in this process, all else in a shell."""
    words = shlex.split(line, comments=True)
    if words[0] == "sdcli" and not _SHELL.search(re.sub(r'"[^"]*"', "", line)):
        return main(words[1:])
    return run_in_shell(line, folder)


def run_in_shell(script: str, folder: Path) -> int:
    """Run a script in bash, which stops at the first error."""
    beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    shell = ["bash", "-euo", "pipefail", "-c", script]
    return subprocess.run(
        shell, cwd=folder, env=os.environ | {"PATH": beside}, check=False
    ).returncode


def pictures() -> Iterator[str]:
    """The names of the pictures that the README shows."""
    yield from re.findall(r"^!\[.*\]\(\.readme/(.*)\)", README.read_text("utf-8"), flags=re.M)


def _write_pictures(folder: Path) -> None:
    folder.mkdir(parents=True)
    os.chdir(folder)
    for line in commands():
        print(f"$ {line}", flush=True)
        if code := run(line, folder):
            sys.exit(code)
    for name in pictures():
        if (folder / name).exists():
            (PICTURES / name).write_bytes((folder / name).read_bytes())


if __name__ == "__main__":
    _write_pictures(Path(sys.argv[1]).absolute())
