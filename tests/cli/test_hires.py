"""A second pass through the command line: recorded, replayed, resumed, refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdcli.errors import ExitCode
from sdcli.storage.images.codec import read_image_info
from tests.conftest import RunCli
from tests.image_files import pixels_of

FAST = ("--steps", "3", "--seed", "1", "--size", "64x64")
HIRES = ("--hires", "1.5x", "--hires-strength", "0.7")


def test_it_is_recorded_and_replayed(run_cli: RunCli) -> None:
    ran = run_cli("generate", "a dog", *FAST, *HIRES, "-o", "out.png", "-v")
    assert ran.code == 0
    assert "64x64, then 2 steps at 96x96 (lanczos, strength 0.7)" in ran.stderr
    info = read_image_info("out.png")
    assert (info["width"], info["height"]) == (96, 96)
    request = info["record"]["request"]
    assert (request["width"], request["hires"], request["hires_upscaler"]) == (
        64, "1.5x", "lanczos",
    )  # fmt: skip
    second = info["record"]["second_pass"]
    assert (second["width"], len(second["timesteps"])) == (96, 2)
    for text in ("Denoising strength: 0.7", "Hires upscale: 1.5", "Hires upscaler: Lanczos"):
        assert text in info["parameters"]
    assert run_cli("replay", "out.png", "--check").stdout == "out.png: identical\n"
    plain = run_cli("replay", "out.png", "--set", "hires_strength=0.4", "-o", "other.png")
    assert plain.code == 0
    assert not np.array_equal(pixels_of("other.png"), pixels_of("out.png"))


def test_without_it_nothing_of_it_is_recorded(run_cli: RunCli) -> None:
    run_cli("generate", "a dog", *FAST, "-o", "plain.png")
    info = read_image_info("plain.png")
    assert not [name for name in info["record"]["request"] if name.startswith("hires")]
    assert "Hires" not in info["parameters"]
    assert "second_pass" not in info["record"]


def test_the_latents_are_those_of_the_first_pass(run_cli: RunCli) -> None:
    run_cli("generate", "a dog", *FAST, "-o", "small.png")
    run_cli("generate", "a dog", *FAST, *HIRES, "--save-latents", "all", "-o", "out.png")
    resumed = run_cli("latents", "resume", "out.png", "--from-step", "2", "-o", "again.png")
    assert resumed.code == 0
    assert np.array_equal(pixels_of("again.png"), pixels_of("out.png"))
    decoded = run_cli("latents", "decode", "out.png", "-o", "decoded")
    path = str(decoded.paths[0])
    assert np.array_equal(pixels_of(path), pixels_of("small.png"))
    # Its record describes what it shows.
    assert run_cli("replay", path, "--check").stdout == f"{path}: identical\n"


def test_a_sweep_a_prompt_file_and_a_journal(run_cli: RunCli) -> None:
    rows = [
        {"prompt": "a dog", "hires": ["1.5x", "80x80"], "hires_strength": 0.7},
        {"prompt": "a dog", "hires": "2X", "hires_upscaler": "latent", "hires_steps": 5},
    ]
    Path("jobs.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    dry = run_cli("batch", "jobs.jsonl", *FAST, "--dry-run", "--json")
    assert dry.code == 0
    ran = run_cli("batch", "jobs.jsonl", *FAST, "-o", "made")
    assert [pixels_of(path).shape[0] for path in ran.paths] == [96, 80, 128]
    parameters = read_image_info(ran.paths[2])["parameters"]
    assert "Hires steps: 5" in parameters
    assert "Hires upscaler: Latent" in parameters
    assert "Hires resize: 80x80" in read_image_info(ran.paths[1])["parameters"]
    again = run_cli("batch", "jobs.jsonl", *FAST, "-o", "made")
    assert "0 images made, 3 done before" in again.stderr


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["--hires", "1x"], "neither a factor above 1"),
        (["--hires", "big"], "neither a factor above 1"),
        (["--hires", "17"], "neither a factor above 1"),
        (["--hires", "64x64"], "does not enlarge the image"),
        (["--hires", "32x128"], "does not enlarge the image"),
        (["--hires", "128x64"], "has another shape"),
        (["--hires", "100x100"], "not multiples of 8"),
        (["--hires", "2x", "--hires-strength", "0.1"], "leaves no step to run"),
        (["--hires", "2x", "--guidance-rescale", "0.5"], "guidance_rescale: with --hires"),
        (["--hires", "2x", "--hires-steps", "2000"], "not between 1 and 1000"),
        (["--hires-strength", "0.5"], "no effect without --hires"),
        (["--hires-upscaler", "latent"], "no effect without --hires"),
        (["--hires", "2x", "--image", "in.png", "--mask", "in.png"], "which a mask would keep"),
        (["--hires", "2x", "--image", "in.png", "--outpaint", "left=8"], "which a mask would keep"),
    ],
)
def test_mistakes_are_answered(run_cli: RunCli, typed: list[str], words: str) -> None:
    Image.new("RGB", (64, 64), "white").save("in.png")
    size = [] if "--image" in typed else ["--size", "64x64"]
    ran = run_cli("generate", "a dog", "--steps", "3", "--seed", "1", *size, *typed, "-o", "o.png")
    assert (ran.code, ran.stdout) == (ExitCode.USAGE, "")
    assert words in ran.stderr
