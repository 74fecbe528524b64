"""Every command that prints a table fits terminals of 60, 80 and 200 columns."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.cli import main
from tests.cli.test_models import fill_cache
from tests.conftest import RunCli
from tests.manual import commands
from tests.terminals import Terminal, without_styles

PROMPT = "a cat and a guitar on a blue background"
SMALL = ("--size", "64x64", "--seed", "7", "-q")
COMMANDS = {
    "help": ("help",),
    "tokens": ("tokens", f"{PROMPT}, a (red:1.3) star"),
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
    "score": ("score", "a.png", "b.png"),
    "attention": ("attention", "a.png", "-o", "words.png", "--force"),
    "inspect latents": ("inspect", "a.latents.safetensors"),
    "models list": ("models", "list"),
    "models list --models-dir": ("models", "list", "--models-dir", "files"),
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
    fill_cache(folder / "cache", f"someone/{'a-long-name-' * 4}model")
    (folder / "files").mkdir()
    weights = EMBEDDED_FOLDER / "unet" / "diffusion_pytorch_model.safetensors"
    shutil.copy(weights, folder / "files" / f"{'a-long-name-' * 4}model.safetensors")
    (folder / "p.txt").write_text(f"{PROMPT}, {PROMPT}\na dog\n")
    return folder


@pytest.fixture
def run_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HF_HUB_CACHE", str(folder / "cache"))

    def run(columns: int, *argv: str) -> str:
        terminal = Terminal(columns)
        with monkeypatch.context() as patch, os.fdopen(terminal.follower, "w") as stream:
            patch.setenv("COLUMNS", str(columns))
            patch.setattr("sys.stdout", stream)
            patch.setattr("sys.stderr", stream)
            assert main(argv) == 0
        return without_styles(terminal.text())

    return run


def too_wide(text: str, columns: int) -> list[str]:
    """Lines that are wider, but for single words: those must stay whole, to be copied."""
    return [line for line in text.splitlines() if len(line) > columns and " " in line.strip()]


@pytest.mark.sample(30)
@pytest.mark.parametrize("columns", [60, 80, 200])
@pytest.mark.parametrize("name", COMMANDS)
def test_no_line_is_wider_than_the_terminal(
    run_in: Callable[..., str], name: str, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name.startswith("models"):
        # Messages stay whole, and one of these ends with the path of the cache.
        monkeypatch.setenv("HF_HUB_CACHE", "cache")
    text = run_in(columns, *COMMANDS[name])
    assert len(text.splitlines()) > 2
    assert too_wide(text, columns) == []


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_no_help_is_wider_than_the_terminal(
    columns: int, run_cli: RunCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for command in ["", "latents", "models", "schedulers", "vae", "worker", *commands()]:
        text = run_cli(*command.split(), "--help").stdout
        assert too_wide(text, columns) == [], command


def test_a_long_example_can_still_be_pasted(
    run_cli: RunCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def examples(columns: int) -> list[list[str]]:
        monkeypatch.setenv("COLUMNS", str(columns))
        found = []
        for command in commands():
            text = run_cli(*command.split(), "--help").stdout
            block = text.partition("Examples:\n")[2].partition("\n\n")[0]
            found += [shlex.split(line) for line in block.replace("\\\n", " ").splitlines()]
        return found

    assert examples(60) == examples(200)
    assert ["sdcli", "generate", "a dog", "-s", "DPM++ 2M Karras"] in [
        words[:5] for words in examples(60)
    ]


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
