"""Paths, numbers and home folders that the system or Python refuses: an error, no traceback."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONG = "x" * 300
PATHS = ["~nouser/a", LONG, "/dev/null/x", "~nouser/" + LONG, "/proc/self/fd/99"]
DIGITS = "9" * 5000

ONE_PATH = [
    "generate a -m @",
    "generate a --vae @",
    "generate a --wildcards @",
    "batch @",
    "batch @ --dry-run",
    "replay @",
    "inspect @",
    "latents info @",
    "latents decode @",
    "latents preview @",
    "latents diff @ @",
    "latents grid @",
    "latents animate @",
    "latents noise @",
    "latents path @",
    "latents resume @ --from-step 1",
    "vae show @",
    "vae encode @",
    "vae decode @",
    "vae compare @",
    "bench batch --prompts @",
    "bench one -m @",
    "schedulers show ddim --model @",
]


@pytest.mark.sample(60)
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path[:12])
@pytest.mark.parametrize("command", ONE_PATH)
def test_a_path_that_cannot_be_used_is_an_error(run_cli, command, path):
    ran = run_cli(*(path if word == "@" else word for word in command.split()))
    assert ran.code in (2, 3, 5, 7)
    assert "sdcli: error: " in ran.stderr


@pytest.mark.parametrize("path", ["~nouser/a", LONG, "/dev/null/x", "/proc/nothing/x.png"])
@pytest.mark.parametrize("option", ["-o", "--preview-out"])
def test_an_output_that_cannot_be_written_is_an_error(run_cli, option, path):
    ran = run_cli("generate", "a", "--steps", "1", option, path)
    assert ran.code in (2, 5)
    assert "sdcli: error: " in ran.stderr


@pytest.mark.parametrize(
    "argv",
    [
        ["bench", "nosuch"],
        ["bench", "one", "--rounds", "0"],
        ["bench", "one", "--rounds", DIGITS],
        ["bench", "one", "--rounds", "x"],
        ["bench", "batch", "--count", "0"],
        ["generate", "a", "--size", f"{DIGITS}x64"],
        ["generate", "a", "--batch-size", DIGITS],
        ["generate", "a", "--batch-size", "0"],
        ["generate", "a", "--seed", DIGITS],
        ["generate", "a", "--guidance", DIGITS],
        ["generate", "a", "--guidance", "1e999"],
        ["generate", "a", "--guidance", "1..1e300:1e-300"],
        ["generate", "a", "--steps", f"1..{DIGITS}"],
        ["generate", "a", "--save-latents", f"every:{DIGITS}"],
        ["generate", "a", "-s", f"euler;steps_offset={DIGITS}"],
        ["schedulers", "compare", "--steps", DIGITS],
        ["schedulers", "compare", "--steps", "0" * 5000],
        ["latents", "animate", "x", "--fps", "nan"],
        ["--profile", LONG],
    ],
    ids=lambda argv: " ".join(argv)[:30],
)
def test_a_value_that_is_out_of_bounds_is_a_usage_error(run_cli, argv):
    ran = run_cli(*argv)
    assert ran.code == 2
    assert ran.stderr.startswith("sdcli: error: ")


def test_the_words_and_limits_of_an_option_are_named(run_cli):
    assert "'nosuch' is not one of start, one, batch" in run_cli("bench", "nosuch").stderr
    assert "'0' is not 1 or more" in run_cli("bench", "one", "--rounds", "0").stderr


@pytest.mark.parametrize("rank", [DIGITS, "-1", "²", "x"])
def test_a_rank_that_is_no_number_is_a_usage_error(run_cli, monkeypatch, tmp_path, rank):
    (tmp_path / "a.txt").write_text("a cat\n")
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run_cli("batch", "a.txt", "--steps", "1").code == 2


@pytest.mark.parametrize("name", ["jsonl", "json", "yaml", "toml"])
@pytest.mark.parametrize(
    "number", ["1" + "0" * 400, "-1" + "0" * 400, "1e400", "9" * 5000, "0x" + "f" * 5000]
)
def test_a_number_in_a_file_may_have_any_size(run_cli, tmp_path, name, number):
    lines = {
        "yaml": f"- prompt: a\n  guidance_scale: {number}\n",
        "toml": f'[[requests]]\nprompt = "a"\nguidance_scale = {number}\n',
    }
    (tmp_path / f"f.{name}").write_text(
        lines.get(name, f'{{"prompt": "a", "guidance_scale": {number}}}\n')
    )
    ran = run_cli("batch", f"f.{name}", "--dry-run")
    assert ran.code == 2
    assert ran.stderr.startswith(f"sdcli: error: f.{name}:")
    assert len(ran.stderr) < 600


def test_a_file_name_need_not_be_text(run_cli):
    name = os.fsdecode(b"\xff.png")
    assert run_cli("generate", "a", "--steps", "1", "--size", "64x64", "-o", name).code == 0
    assert run_cli("vae", "encode", name).code == 0


@pytest.mark.sample(4)
@pytest.mark.parametrize("home", [None, "/proc/nothing", "/dev/null", "/" + LONG, ""])
@pytest.mark.parametrize("command", ["--help", "generate --help", "schedulers list", "vae list"])
def test_no_home_folder_is_needed(tmp_path, home, command):
    environment = {k: v for k, v in os.environ.items() if k not in ("HOME", "XDG_CONFIG_HOME")}
    if home is not None:
        environment["HOME"] = home
    ran = subprocess.run(
        [sys.executable, "-m", "sdcli", *command.split()],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("command", ONE_PATH)
def test_a_disk_that_fails_to_find_a_file_is_an_error(run_cli, monkeypatch, command):
    # No file system here fails so on purpose. All else, and all other paths, are the real ones.
    # Names of prompts end in .txt, others are refused unseen.
    suffix = ".txt" if "batch" in command else ".png"
    stat, path, failed = os.stat, f"broken-disk/x{suffix}", []

    def failing_stat(name, *arguments, **options):
        if not isinstance(name, int) and "broken-disk" in os.fsdecode(name):
            failed.append(name)
            raise OSError(errno.EIO, os.strerror(errno.EIO), name)
        return stat(name, *arguments, **options)

    monkeypatch.setattr(os, "stat", failing_stat)
    ran = run_cli(*(path if word == "@" else word for word in command.split()))
    assert failed
    assert ran.code in (2, 3, 5, 7)
    assert "sdcli: error: " in ran.stderr


@pytest.mark.sample(6)
@pytest.mark.parametrize("kind", ["a loop", "through a file", "a folder without permission"])
@pytest.mark.parametrize("command", ONE_PATH[::6])
def test_a_path_that_leads_nowhere_is_an_error_for_any_user(tmp_path, command, kind):
    (tmp_path / "file").write_text("x")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "closed").mkdir(mode=0)
    paths = {"a loop": "loop/x.png", "through a file": "file/x.png"}
    path = paths.get(kind, "closed/x.png")
    # Root may search any folder.
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    user = user if os.geteuid() == 0 and shutil.which("setpriv") else []
    argv = [path if word == "@" else word for word in command.split()]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    ran = subprocess.run(
        [*user, sys.executable, "-m", "sdcli", *argv], cwd=tmp_path, env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in ran.stderr
    assert ran.returncode in (2, 3, 5, 7)
    assert "sdcli: error: " in ran.stderr
