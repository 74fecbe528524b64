"""Pictures while they form, through the real main()."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from PIL import Image

from sdcli.storage.images.codec import read_image_info
from tests.terminals import Terminal

QUICK = ("--steps", "3", "--seed", "7", "--device", "cpu")


@pytest.mark.parametrize("look", [(), ("--preview-vae", "tiny")])
def test_looking_changes_no_pixel_and_leaves_a_whole_file(run_cli, look):
    plain = run_cli("generate", "a cat", *QUICK, "--json").document
    ran = run_cli("generate", "a cat", *QUICK, "--preview-out", "now.webp", *look, "--json")
    assert ran.code == 0
    seen, drawn = ran.document["images"][0], plain["images"][0]
    assert seen["pixels_sha256"] == drawn["pixels_sha256"]
    with Image.open("now.webp") as image:
        assert image.size == (128, 128)


def test_through_the_models_own_vae_the_last_look_is_the_picture(run_cli, tmp_path):
    argv = ("--preview-out", "now.png", "--preview-vae", "own", "-o", "cat.png")
    assert run_cli("generate", "a cat", *QUICK, *argv).code == 0
    assert (
        read_image_info("now.png")["pixels_sha256"] == read_image_info("cat.png")["pixels_sha256"]
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cat.png", "now.png"]


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (("--preview",), "needs a terminal"),
        (("--preview", "-q"), "--quiet"),
        (("--preview-vae", "tiny"), "does nothing without"),
        (("--preview-out", "folder"), "not a supported image file"),
        (("--preview-out", "x.txt"), "--preview-out: x.txt is not a supported image file"),
        (("--preview-out", "x.png", "-o", "x.png"), "the file of --out"),
    ],
)
def test_what_could_not_be_seen_is_refused(run_cli, argv, told):
    ran = run_cli("generate", "a cat", *argv)
    assert ran.code == 2
    assert told in ran.stderr
    assert "hint" in ran.stderr


def test_a_preview_overwrites_nothing_unforced(run_cli, tmp_path):
    (tmp_path / "mine.png").write_bytes(b"mine")
    ran = run_cli("generate", "a cat", *QUICK, "--preview-out", "mine.png", "-o", "cat.png")
    assert (ran.code, (tmp_path / "mine.png").read_bytes()) == (5, b"mine")
    assert not (tmp_path / "cat.png").exists()


def test_in_a_terminal_pictures_are_on_stderr_and_paths_on_stdout(tmp_path):
    terminal = Terminal()
    environment = {
        **os.environ,
        "PYTHONPATH": ":".join(sys.path),
        "TERM": "dumb",
        "COLORTERM": "truecolor",
    }
    argv = [sys.executable, "-m", "sdcli", "generate", "a cat", *QUICK, "--preview", "-o", "c.png"]
    ran = subprocess.run(
        argv, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=terminal.follower
    )
    os.close(terminal.follower)
    seen = terminal.text()
    assert (ran.returncode, ran.stdout) == (0, b"c.png\n")
    assert "▀" in seen
    assert "image 1/1, step 3/3" in seen
