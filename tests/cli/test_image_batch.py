"""A batch of images: each is made again by its own record, with changes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sdcli.errors import ExitCode
from sdcli.storage.images.codec import read_image_info
from tests.conftest import RunCli
from tests.image_files import pixels_of

A1111 = (
    "a fish\nNegative prompt: a cat\nSteps: 3, Sampler: DDIM, CFG scale: 2, Seed: 9, Size: 64x64, "
    "Model: other, Denoising strength: 0.7, Hires upscale: 1.5, Hires steps: 4, "
    "Hires upscaler: Latent, Version: v1.9.0"
)


@pytest.fixture
def folder(run_cli: RunCli, tmp_path: Path) -> Path:
    """Two images of different settings."""
    for name, prompt, steps in (("a", "a dog", "3"), ("b", "a red star", "4")):
        ran = run_cli(
            "generate", prompt, "--steps", steps, "--seed", "5", "--size", "64x64",
            "-o", f"made/{name}.png",
        )  # fmt: skip
        assert ran.code == 0
    return tmp_path / "made"


def test_a_folder_is_made_again_and_resumed(run_cli: RunCli, folder: Path) -> None:
    ran = run_cli("batch", "made", "-o", "again")
    assert ran.code == 0
    assert len(ran.paths) == 2
    for path, source in zip(ran.paths, ("a", "b"), strict=True):
        assert np.array_equal(pixels_of(path), pixels_of(folder / f"{source}.png"))
    assert "0 images made, 2 done before" in run_cli("batch", "made", "-o", "again").stderr
    shutil.copy(folder / "a.png", folder / "c.png")
    assert "made" in run_cli("batch", "made/c.png", "made/b.png", "-o", "again").stderr


def test_the_command_line_wins_over_the_record(run_cli: RunCli, folder: Path) -> None:
    ran = run_cli("batch", "made", "--steps", "2", "--hires", "1.5x", "--hires-strength", "0.5",
                  "-o", "new")  # fmt: skip
    assert ran.code == 0
    requests = [read_image_info(path)["record"]["request"] for path in ran.paths]
    assert [request["num_inference_steps"] for request in requests] == [2, 2]
    assert [request["prompt"] for request in requests] == ["a dog", "a red star"]
    assert {request["seed"] for request in requests} == {5}
    assert [pixels_of(path).shape for path in ran.paths] == [(96, 96, 3)] * 2
    swept = run_cli("batch", "made/a.png", "--seed", "1..3", "--dry-run")
    assert "images: 3" in swept.stdout


def test_images_are_inputs_if_asked_for(run_cli: RunCli, folder: Path) -> None:
    ran = run_cli("batch", "made", "--as-input", "--strength", "0.7", "-o", "new")
    assert ran.code == 0
    requests = [read_image_info(path)["record"]["request"] for path in ran.paths]
    assert [request["image"] for request in requests] == ["a.png", "b.png"]
    by_hand = run_cli(
        "generate", "a dog", "--steps", "3", "--seed", "5", "--image", "made/a.png",
        "--strength", "0.7", "-o", "hand.png",
    )  # fmt: skip
    assert by_hand.code == 0
    assert np.array_equal(pixels_of(ran.paths[0]), pixels_of("hand.png"))
    # An image that was made from another one, and enlarged, is an input like any other.
    # `replay` looks in the current folder, but not in that of another image.
    for name in ("a.png", "b.png"):
        shutil.copy(f"made/{name}", name)
    large = run_cli("batch", "hand.png", "--hires", "1.5x", "--hires-strength", "0.5",
                    "-o", "large")  # fmt: skip
    assert large.code == 0
    source = Path("a.png").rename("a.bin")
    nested = run_cli("batch", *map(str, large.paths), "--as-input", "-o", "nested")
    assert nested.code == 0
    assert pixels_of(nested.paths[0]).shape == (96, 96, 3)
    # An output may have the name of its input, and is not taken for it.
    [name] = [path.name for path in nested.paths]
    assert name == large.paths[0].name
    mistaken = run_cli("replay", f"nested/{name}", "--check")
    assert f"the record's input '{name}'" in mistaken.stderr
    shutil.copy(large.paths[0], "large.png")
    assert run_cli("replay", f"nested/{name}", "--check").code == 0
    missing = run_cli("batch", "hand.png", "-o", "nested")
    assert missing.code == ExitCode.USAGE
    assert "hand.png: image: the record's input 'a.png'" in missing.stderr
    source.rename("a.png")


def test_records_of_other_programs_are_read(run_cli: RunCli, tmp_path: Path) -> None:
    info = PngInfo()
    info.add_text("parameters", A1111)
    Image.new("RGB", (96, 96)).save("foreign.png", pnginfo=info)
    ran = run_cli("batch", "foreign.png", "-o", "new")
    assert ran.code == 0
    assert "foreign.png: not taken from the record of A1111: model other" in ran.stderr
    request = read_image_info(ran.paths[0])["record"]["request"]
    assert (request["prompt"], request["negative_prompt"], request["seed"]) == (
        "a fish",
        "a cat",
        9,
    )
    assert (request["hires"], request["hires_strength"], request["hires_steps"]) == ("1.5x", 0.7, 4)
    assert request["hires_upscaler"] == "latent"
    assert "strength" not in request


def test_images_without_a_record_are_named_or_skipped(run_cli: RunCli, folder: Path) -> None:
    Image.new("RGB", (8, 8)).save(folder / "none.png")
    (folder / "broken.png").write_bytes(b"no image")
    ran = run_cli("batch", "made", "-o", "new")
    assert (ran.code, ran.stdout) == (ExitCode.USAGE, "")
    assert "made/none.png: it has no record" in ran.stderr
    assert "made/broken.png: not a readable image" in ran.stderr
    kept = run_cli("batch", "made", "--keep-going", "-o", "new")
    assert kept.code == ExitCode.PARTIAL
    assert len(kept.paths) == 2
    assert "made/none.png: it has no record" in kept.stderr


def test_a_folder_is_read_in_natural_order_without_its_subfolders(
    run_cli: RunCli, folder: Path
) -> None:
    (folder / "b.png").rename(folder / "a9.png")
    (folder / "a.png").rename(folder / "a10.png")
    (folder / "below").mkdir()
    for place in ("below/a.png", ".hidden.png"):
        shutil.copy(folder / "a9.png", folder / place)
    ran = run_cli("batch", "made", "--dry-run", "--jsonl")
    prompts = [
        line["prompt"] for line in map(json.loads, ran.stdout.splitlines()) if "prompt" in line
    ]
    assert prompts == ["a red star", "a dog"]


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["made", "p.txt"], "images and prompt files cannot be in one batch"),
        (["empty"], "empty: no images"),
        (["made", "empty"], "empty: no images"),
        (["none.png"], "no file at none.png"),
        (["p.txt", "--as-input"], "the files are prompts, not images"),
        (["made", "--input-format", "csv"], "--input-format has no effect on images"),
        (["made", "--extra", "keep"], "--extra has no effect on images"),
        (["made", "--strength", "0.5"], "made/a.png: strength has no effect without --image"),
        (["made", "--size", "65x64"], "is not a multiple of 8"),
    ],
)
def test_mistakes_are_answered(run_cli: RunCli, folder: Path, typed: list[str], words: str) -> None:
    Path("empty").mkdir()
    Path("p.txt").write_text("a dog\n")
    ran = run_cli("batch", *typed, "-o", "new")
    assert (ran.code, ran.stdout) == (ExitCode.USAGE, "")
    assert words in ran.stderr
