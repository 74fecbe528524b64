"""Every command that prints a table fits terminals of 60, 80 and 200 columns."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import termios
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from sdcli.cli import main

PROMPT = "a cat and a guitar on a blue background"
SMALL = ("--size", "64x64", "--seed", "7", "-q")
COMMANDS = {
    "vae list": ("vae", "list"),
    "vae show": ("vae", "show", "own"),
    "vae compare": ("vae", "compare", "a.png", "-o", "v.png", "--force"),
    "schedulers list": ("schedulers", "list"),
    "schedulers show": ("schedulers", "show", "DPM++ 2M Karras;solver_order=3", "--steps", "30"),
    "schedulers show model": ("schedulers", "show", "UniPC", "--model", "embedded"),
    "schedulers compare": (
        *("schedulers", "compare", PROMPT, "a dog", "--schedulers", "ddim,DPM++ 2M SDE Karras"),
        *("--steps", "1,2", "--reference-steps", "3", "-o", "c.png", "--force", *SMALL),
    ),
    "latents info": ("latents", "info", "a.png"),
    "latents path": ("latents", "path", "a.png"),
    "latents diff": ("latents", "diff", "a.png", "b.png"),
    "inspect image": ("inspect", "a.png"),
    "inspect model": ("inspect", "embedded"),
    "doctor": ("doctor",),
    "batch --dry-run": ("batch", "p.txt", "--dry-run"),
}
"""What is typed, in a folder with two images of different schedulers and a prompt file."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("widths")
    for name, scheduler in (("a", "euler"), ("b", "ddim")):
        out = str(folder / f"{name}.png")
        options = ("--steps", "3", "-s", scheduler, "--save-latents", "all", "-o", out)
        assert main(["generate", PROMPT, *options, *SMALL]) == 0
    (folder / "p.txt").write_text(f"{PROMPT}, {PROMPT}\na dog\n")
    return folder


class Terminal:
    """A terminal of so many columns that keeps what is written on it."""

    def __init__(self, columns: int) -> None:
        self._master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        self._written = b""
        self._reader = Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        try:
            while data := os.read(self._master, 65536):
                self._written += data
        except OSError:  # the end of a terminal on Linux
            pass

    def text(self) -> str:
        """Everything that was written, once nothing has it open, without bold and the like."""
        self._reader.join()
        os.close(self._master)
        text = self._written.decode().replace("\r\n", "\n")
        return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.fixture
def run_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HF_HUB_CACHE", str(folder / "cache"))

    def run(columns: int, *argv: str) -> str:
        terminal = Terminal(columns)
        with monkeypatch.context() as patch, os.fdopen(terminal.slave, "w") as stream:
            patch.setenv("COLUMNS", str(columns))
            patch.setattr("sys.stdout", stream)
            patch.setattr("sys.stderr", stream)
            assert main(argv) == 0
        return terminal.text()

    return run


def too_wide(text: str, columns: int) -> list[str]:
    """Lines that are wider, but for single words: those must stay whole, to be copied."""
    return [line for line in text.splitlines() if len(line) > columns and " " in line.strip()]


@pytest.mark.parametrize("columns", [60, 80, 200])
@pytest.mark.parametrize("name", COMMANDS)
def test_no_line_is_wider_than_the_terminal(
    run_in: Callable[..., str], name: str, columns: int
) -> None:
    text = run_in(columns, *COMMANDS[name])
    assert len(text.splitlines()) > 2
    assert too_wide(text, columns) == []


def test_no_value_that_must_be_typed_is_cut(run_in: Callable[..., str]) -> None:
    """Names, ids and paths are the same words at any width."""
    from sdcli.catalog.known_vaes import VAES
    from sdcli.catalog.schedulers.sampler_table import SAMPLERS

    for columns in (40, 60, 80, 200):
        words = run_in(columns, "vae", "list").split()
        for vae in VAES:
            assert {vae.name, vae.repo} <= set(words)
        lines = run_in(columns, "schedulers", "list").splitlines()
        for sampler in SAMPLERS:
            assert any(
                line == sampler.name or line.startswith(f"{sampler.name} ") for line in lines
            )
        shown = run_in(columns, "inspect", "a.png").split()
        assert any(re.fullmatch("[0-9a-f]{64}", word) for word in shown)


def test_bars_shrink_with_the_terminal(run_in: Callable[..., str]) -> None:
    longest = [run_in(columns, "latents", "path", "a.png").count("█") for columns in (45, 60, 80)]
    assert longest == sorted(longest)
    assert longest[0] < longest[2]
