"""Runs from images through the command line: generated, recorded, found again, resumed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdcli.errors import ExitCode
from sdcli.storage.images.codec import read_image_info
from tests.conftest import RunCli
from tests.image_files import pixels_of

FAST = ("--steps", "3", "--seed", "1")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    coarse = np.random.default_rng(2).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC)
    image.save(tmp_path / "in.png")
    return tmp_path / "in.png"


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    pixels = np.zeros((64, 64), np.uint8)
    pixels[:, :30] = 255
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    return tmp_path / "mask.png"


@pytest.fixture
def drawn(run_cli: RunCli, picture: Path, mask: Path) -> Path:
    """An inpainted picture, out.png, and its latents."""
    ran = run_cli(
        "generate", "a dog", "--image", "in.png", "--mask", "mask.png", *FAST,
        "--save-latents", "all", "-o", "out.png",
    )  # fmt: skip
    assert (ran.code, ran.stdout) == (0, "out.png\n")
    return picture.parent / "out.png"


def test_the_record_has_names_and_hashes_and_the_mask_holds(drawn: Path) -> None:
    record = read_image_info(drawn)["record"]
    request = record["request"]
    assert (request["image"], request["mask"], request["strength"]) == ("in.png", "mask.png", 0.8)
    assert set(record["inputs"]) == {"image", "mask"}
    assert len(record["timesteps"]) == 2
    source, result = pixels_of("in.png"), pixels_of(drawn)
    assert np.array_equal(result[:, 30:], source[:, 30:])
    assert not np.array_equal(result[:, :30], source[:, :30])
    assert "Denoising strength: 0.8" in str(read_image_info(drawn)["parameters"])


def test_a_picture_of_a_prompt_alone_records_nothing_of_images(run_cli: RunCli) -> None:
    run_cli("generate", "a dog", *FAST, "-o", "plain.png")
    info = read_image_info("plain.png")
    assert not {"image", "mask", "strength", "resize"} & info["record"]["request"].keys()
    assert "inputs" not in info["record"]
    assert "Denoising" not in info["parameters"]


def test_full_paths_are_recorded_if_asked_for(run_cli: RunCli, picture: Path) -> None:
    run_cli("generate", "a dog", "--image", "in.png", *FAST, "--record-paths", "-o", "o.png")
    assert read_image_info("o.png")["record"]["request"]["image"] == str(picture.absolute())


def test_replay_finds_the_images_by_hash(run_cli: RunCli, drawn: Path, tmp_path: Path) -> None:
    assert run_cli("replay", "out.png", "--check").code == 0
    elsewhere, inputs = tmp_path / "elsewhere", tmp_path / "inputs"
    for folder in (elsewhere, inputs):
        folder.mkdir()
    shutil.move(drawn, elsewhere / "out.png")
    shutil.move(tmp_path / "in.png", inputs / "renamed.png")
    shutil.move(tmp_path / "mask.png", elsewhere / "other.png")
    missing = run_cli("replay", "elsewhere/out.png", "--check")
    assert missing.code == ExitCode.USAGE
    assert "'in.png' (SHA-256 " in missing.stderr
    assert "--inputs DIR" in missing.stderr
    found = run_cli("replay", "elsewhere/out.png", "--check", "--inputs", "inputs")
    assert (found.code, found.stdout) == (0, "elsewhere/out.png: identical\n")


def test_replay_tells_of_an_image_that_changed(run_cli: RunCli, drawn: Path) -> None:
    Image.fromarray(255 - pixels_of("in.png")).save("in.png")
    ran = run_cli("replay", "out.png", "--check")
    assert ran.code == ExitCode.DIFFERENT
    assert "in.png has changed: the recorded image has SHA-256" in ran.stderr
    assert "input image:" in ran.stdout
    other = run_cli("replay", "out.png", "--set", "image=in.png", "-o", "new.png")
    assert other.code == 0


def test_replay_with_another_image_asks_for_nothing(
    run_cli: RunCli, drawn: Path, tmp_path: Path
) -> None:
    (tmp_path / "in.png").rename(tmp_path / "mine.png")
    ran = run_cli("replay", "out.png", "--set", "image=mine.png", "-o", "new.png")
    assert (ran.code, ran.stdout) == (0, "new.png\n")
    assert np.array_equal(pixels_of("new.png"), pixels_of("out.png"))


def test_a_run_from_an_image_is_resumed(run_cli: RunCli, drawn: Path) -> None:
    ran = run_cli("latents", "resume", "out.png", "--from-step", "1", "-o", "again.png")
    assert ran.code == 0
    assert np.array_equal(pixels_of("again.png"), pixels_of(drawn))
    Path("in.png").rename("kept.bin")
    gone = run_cli("latents", "resume", "out.png", "--from-step", "1", "-o", "third.png")
    assert gone.code == ExitCode.USAGE
    assert "'in.png'" in gone.stderr
    shutil.copy("kept.bin", "in.png")


def test_paths_in_a_prompt_file_begin_at_its_folder(
    run_cli: RunCli, picture: Path, mask: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "prompts"
    folder.mkdir()
    for file in (picture, mask):
        shutil.move(file, folder / file.name)
    rows = [
        {"prompt": "a dog", "image": "in.png", "mask": "mask.png"},
        {"prompt": "a dog", "image": str(folder / "in.png"), "strength": [0.4, 1.0]},
        {"prompt": "a dog", "size": "64x64"},
    ]
    (folder / "jobs.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    command = ("batch", "prompts/jobs.jsonl", *FAST, "-o", "made")
    ran = run_cli(*command)
    assert ran.code == 0
    assert [read_image_info(path)["record"]["request"].get("strength") for path in ran.paths] == [
        0.8, 0.4, 1.0, None,
    ]  # fmt: skip
    assert "0 images made, 4 done before" in run_cli(*command).stderr
    # The same bytes under another name are the same job; other bytes are another one.
    (folder / "in.png").rename(folder / "same.png")
    (folder / "jobs.jsonl").write_text(json.dumps({**rows[0], "image": "same.png"}))
    assert "0 images made, 1 done before" in run_cli(*command).stderr
    Image.fromarray(255 - pixels_of(folder / "same.png")).save(folder / "same.png")
    assert "1 image made" in run_cli(*command).stderr


def test_errors_in_a_prompt_file_have_their_place(run_cli: RunCli, picture: Path) -> None:
    Path("jobs.csv").write_text(
        "prompt,image,mask,strength\na,none.png,,\na,in.png,jobs.csv,\na,in.png,,0.001\na,,,0.5\n"
    )
    ran = run_cli("batch", "jobs.csv", "--dry-run")
    assert ran.code == ExitCode.USAGE
    for words in (
        "jobs.csv:2:3: image: no file at none.png",
        "jobs.csv:3:10: mask: jobs.csv: not a readable image",
        "jobs.csv:4:11: strength: 0.001 of 20 steps",
        "jobs.csv:5:5: strength has no effect without --image",
    ):
        assert words in ran.stderr


@pytest.mark.parametrize(
    ("typed", "code", "words"),
    [
        (["--image", "none.png"], ExitCode.USAGE, "no file at none.png"),
        (["--image", "."], ExitCode.USAGE, "is a folder, not a file"),
        (["--image", ""], ExitCode.USAGE, "is empty"),
        (["--image", "a\udce4.png"], ExitCode.USAGE, "not valid Unicode"),
        (["--image", "in.png", "--strength", "0"], ExitCode.USAGE, "leaves no step"),
        (["--image", "in.png", "--strength", "1.2"], ExitCode.USAGE, "not between 0 and 1"),
        (["--image", "in.png", "--outpaint", "up=3"], ExitCode.USAGE, "which is not SIDE=PIXELS"),
        (["--mask", "in.png"], ExitCode.USAGE, "mask has no effect without --image"),
        (["--no-keep-unmasked"], ExitCode.USAGE, "keep_unmasked has no effect"),
        (["--image", "black.png", "--mask", "black.png"], ExitCode.USAGE, "black all over"),
        (["--image", "cut.png"], ExitCode.CORRUPT, "not a readable image"),
    ],
)
def test_mistakes_are_answered(
    run_cli: RunCli, picture: Path, typed: list[str], code: ExitCode, words: str
) -> None:
    Image.new("L", (64, 64)).save("black.png")
    Path("cut.png").write_bytes(picture.read_bytes()[:60])
    ran = run_cli("generate", "a dog", *FAST, *typed, "-o", "out.png")
    assert (ran.code, ran.stdout) == (code, "")
    assert words in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_cut_and_a_lost_transparency_are_told(run_cli: RunCli, picture: Path) -> None:
    image = Image.open(picture).convert("RGBA").resize((69, 64))
    image.putalpha(128)
    image.save("glass.png")
    ran = run_cli("generate", "a dog", "--image", "glass.png", *FAST, "-o", "out.png")
    assert "the input image was cut from 69x64 to 64x64, multiples of 8" in ran.stderr
    assert "glass.png: transparency became white" in ran.stderr
    assert len(read_image_info("out.png")["record"]["events"]) == 2


def test_only_the_area_of_the_mask_is_drawn_and_replayed(run_cli: RunCli, mask: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (100, 150, 3), dtype=np.uint8)
    Image.fromarray(noise).save("large.png")
    ran = run_cli(
        "generate", "a dog", "--image", "large.png", "--mask", "mask.png", *FAST, "--size", "64x64",
        "--inpaint-area", "mask", "--inpaint-padding", "4", "-o", "out.png", "--json",
    )  # fmt: skip
    [image] = ran.document["images"]
    assert (image["width"], image["height"]) == (150, 100)
    assert np.array_equal(pixels_of("out.png")[:, 75:], noise[:, 75:])
    info = read_image_info("out.png")
    assert "Inpaint area: Only masked" in info["parameters"]
    assert "Masked area padding: 4" in info["parameters"]
    assert run_cli("replay", "out.png", "--check").code == 0


def test_a_strength_can_be_swept_in_a_grid(run_cli: RunCli, picture: Path) -> None:
    ran = run_cli(
        "generate", "a dog", "--image", "in.png", "--strength", "0.4,0.8", *FAST,
        "--grid", "strength", "-o", "grid",
    )  # fmt: skip
    assert ran.code == 0
    assert len(ran.paths) == 3


def test_the_record_as_a_command_makes_the_image_again(run_cli: RunCli, picture: Path) -> None:
    run_cli(
        "generate", "a dog", "--image", "in.png", "--outpaint", "left=8,top=16", *FAST,
        "--no-keep-unmasked", "-o", "out.png",
    )  # fmt: skip
    command = run_cli("inspect", "out.png", "--as-command").stdout
    assert "--no-keep-unmasked" in command
    import shlex

    ran = run_cli(*shlex.split(command)[1:], "-o", "again.png")
    assert ran.code == 0
    assert np.array_equal(pixels_of("again.png"), pixels_of("out.png"))


def test_a_setting_turns_keeping_off_and_the_flag_on_again(
    run_cli: RunCli, picture: Path, mask: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("generate", "a dog", "--image", "in.png", "--mask", "mask.png", *FAST)
    monkeypatch.setenv("SDCLI_KEEP_UNMASKED", "false")
    assert run_cli(*command, "-o", "off.png").code == 0
    assert run_cli(*command, "--keep-unmasked", "-o", "on.png").code == 0
    kept = [
        read_image_info(name)["record"]["request"]["keep_unmasked"]
        for name in ("off.png", "on.png")
    ]
    assert kept == [False, True]
