"""`sdcli replay`: the same picture again, and what is said when it is not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.errors import ExitCode
from sdcli.storage.images.codec import read_image_info

QUICK = ("--steps", "2", "--seed", "7", "--device", "cpu")


def test_a_picture_is_made_again(run_cli):
    run_cli("generate", "a cat", *QUICK, "-o", "cat.png")
    [path] = run_cli("replay", "cat.png").paths
    assert read_image_info(path)["pixels_sha256"] == read_image_info("cat.png")["pixels_sha256"]
    again, before = read_image_info(path)["record"], read_image_info("cat.png")["record"]
    assert again | {"job": ""} == before | {"job": ""}


def test_changes_are_laid_over_the_record(run_cli):
    run_cli("generate", "a cat", *QUICK, "-o", "cat.png")
    changes = ("--set", "steps=1", "--set", "size=64x96", "--set", "CFG=2.5")
    run_cli("replay", "cat.png", *changes, "--set", "scheduler=Euler a", "-o", "new.png")
    request = read_image_info("new.png")["record"]["request"]
    assert (request["num_inference_steps"], request["width"], request["height"]) == (1, 64, 96)
    assert (request["guidance_scale"], request["scheduler"]) == (2.5, "Euler a")


@pytest.mark.sample(2)
@pytest.mark.parametrize("suffix", ["png", "webp", "jpg"])
def test_check_finds_the_same_picture_identical(run_cli, suffix):
    run_cli("generate", "a cat", *QUICK, "-o", f"cat.{suffix}")
    ran = run_cli("replay", f"cat.{suffix}", "--check", "--json")
    [check] = ran.document["checks"]
    assert (ran.code, check["verdict"], check["differences"]) == (0, "identical", {})
    assert check["altered"] is False


def test_check_finds_a_batched_picture_close(run_cli):
    batch = ("--batch-size", "4", "--count", "4", "-o", "batch")
    paths = run_cli("generate", "a cat", *QUICK, *batch).paths
    ran = run_cli("replay", *map(str, paths), "--check", "--json")
    assert ran.code == 0
    for check in ran.document["checks"]:
        assert check["verdict"] in ("identical", "close")
        assert check["max_difference"] <= 1
        assert check["differences"] == {"batch_size": [4, 1]}


def test_check_finds_another_picture_different_and_says_what_changed(run_cli):
    run_cli("generate", "a cat", *QUICK, "-o", "cat.png")
    ran = run_cli("replay", "cat.png", "--check", "--set", "seed=8")
    assert ran.code == ExitCode.DIFFERENT
    assert "cat.png: different (PSNR" in ran.stdout
    assert "sdcli: error:" in ran.stderr
    document = read_image_info("cat.png")
    document["record"]["versions"]["torch"] = "1.0"
    document["record"]["weights"]["unet"] = "0" * 64
    _with_record("cat.png", document["record"])
    ran = run_cli("replay", "cat.png", "--check")
    assert ran.code == 0
    assert "version of torch: 1.0 when recorded" in ran.stdout
    assert "weights of unet: 000" in ran.stdout


def test_check_tells_of_an_altered_file(run_cli):
    run_cli("generate", "a cat", *QUICK, "-o", "cat.png")
    record = read_image_info("cat.png")["record"]
    with Image.open("cat.png") as image:
        image.rotate(180).save("cat.png")
    _with_record("cat.png", record)
    ran = run_cli("replay", "cat.png", "--check")
    assert ran.code == ExitCode.DIFFERENT
    assert "was changed" in ran.stdout


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (("plain.png",), ExitCode.USAGE),
        (("missing.png",), ExitCode.USAGE),
        (("cat.png", "--set", "steps"), ExitCode.USAGE),
        (("cat.png", "--set", "stepz=3"), ExitCode.USAGE),
        (("cat.png", "--set", "steps=many"), ExitCode.USAGE),
    ],
)
def test_what_cannot_be_replayed_is_said(run_cli, argv, code):
    Image.new("RGB", (8, 8)).save("plain.png")
    run_cli("generate", "a cat", "--steps", "1", "--device", "cpu", "-o", "cat.png")
    ran = run_cli("replay", *argv)
    assert ran.code == code
    assert ran.stderr.count("sdcli: error:") == 1


def test_an_image_that_replay_cannot_read_is_told_what_can(run_cli):
    Image.new("RGB", (8, 8)).save("plain.png")
    ran = run_cli("replay", "plain.png")
    assert "plain.png: it has no record" in ran.stderr
    assert "hint: give an image that sdcli made" in ran.stderr
    info = PngInfo()
    info.add_text("parameters", "a cat\nSteps: 3, Seed: 5, Size: 64x64")
    Image.new("RGB", (8, 8)).save("a cat.png", pnginfo=info)
    ran = run_cli("replay", "a cat.png")
    assert "a cat.png: A1111 made it" in ran.stderr
    assert "hint: sdcli inspect 'a cat.png' --as-command" in ran.stderr


def test_a_record_that_is_not_understood_is_named_with_its_file(run_cli):
    Image.new("RGB", (8, 8)).save("bad.png")
    request = {"prompt": "a cat", "steps": 3}
    _with_record("bad.png", {"schema": "sdcli/record/9", "request": request})
    ran = run_cli("replay", "bad.png")
    assert ran.code == ExitCode.USAGE
    assert "bad.png: its record (sdcli/record/9) is of a later version" in ran.stderr
    assert "hint: upgrade sdcli: sdcli help install" in ran.stderr
    _with_record("bad.png", {"request": {"prompt": "a cat", "seed": -1}})
    assert "bad.png: its record: seed: -1 is not between" in run_cli("replay", "bad.png").stderr
    _with_record("bad.png", {"request": {}, "decoded": {}})
    assert "bad.png: decoded from latents" in run_cli("replay", "bad.png").stderr


def test_a_bad_change_is_told_in_the_words_of_replay(run_cli):
    Image.new("RGB", (8, 8)).save("cat.png")
    ran = run_cli("replay", "cat.png", "--set", "size=64")
    assert "error: size: '64' is not WIDTHxHEIGHT" in ran.stderr
    assert "hint: as in --set size=512x768" in ran.stderr
    ran = run_cli("replay", "cat.png", "--set", "n=64")
    assert "unknown field 'n'" in ran.stderr
    assert "hint" in ran.stderr


def _with_record(path, record):
    info = PngInfo()
    info.add_itxt("sdcli", json.dumps(record))
    with Image.open(path) as image:
        image.copy().save(path, pnginfo=info)


def test_a_checked_picture_can_be_kept(run_cli):
    run_cli("generate", "a cat", *QUICK, "-o", "cat.png")
    ran = run_cli("replay", "cat.png", "--check", "-o", "again.png")
    assert ran.code == 0
    assert (
        read_image_info("again.png")["pixels_sha256"] == read_image_info("cat.png")["pixels_sha256"]
    )


def test_a_compiled_picture_is_told_and_how_to_compile_again(run_cli):
    run_cli("generate", "a cat", *QUICK, "-o", "cat.png")
    _with_record("cat.png", {**read_image_info("cat.png")["record"], "compiled": True})
    told = run_cli("replay", "cat.png", "--check").stdout.splitlines()
    assert told[1:] == [
        "  compiled: yes when recorded, no now",
        "  add --set compile=yes to repeat that",
    ]


def test_one_altered_pixel_is_a_difference(run_cli):
    run_cli("generate", "a cat", *QUICK, "-o", "cat.png")
    record = read_image_info("cat.png")["record"]
    with Image.open("cat.png") as image:
        image.putpixel((3, 3), tuple(255 - level for level in image.getpixel((3, 3))))
        image.save("cat.png")
    _with_record("cat.png", record)
    assert run_cli("replay", "cat.png", "--check").code == ExitCode.DIFFERENT


def test_an_image_has_no_paths_of_models_and_is_replayed_by_their_names(run_cli, tmp_path) -> None:
    model = Path(shutil.copytree(EMBEDDED_FOLDER, tmp_path / "secret" / "mine"))
    options = ("a cat", "--steps", "1", "-m", str(model), "--sidecar", "--save-latents", "final")
    made = run_cli("generate", *options, "-o", "images/cat.png")
    assert made.code == 0, made.stderr
    for path in (tmp_path / "images").iterdir():
        assert b"secret" not in path.read_bytes()
    # The model moves: to the folder of the image, then away.
    beside = model.rename(tmp_path / "images" / "renamed")
    assert run_cli("replay", "images/cat.png", "--check").code == 0
    decoded = run_cli("latents", "decode", "images/cat.latents.safetensors", "-o", "again.png")
    assert decoded.code == 0, decoded.stderr
    away = beside.rename(tmp_path / "secret" / "away")
    lost = run_cli("replay", "images/cat.png", "--check")
    assert lost.code == 3
    assert "--model PATH" in lost.stderr
    assert f"searched: {tmp_path / 'images'}, {tmp_path}, " in lost.stderr
    assert run_cli("replay", "images/cat.png", "--check", "-m", str(away)).code == 0
    away.rename(tmp_path / "mine")  # where all images of the tests are made again


def test_paths_of_models_are_recorded_on_request(run_cli, tmp_path) -> None:
    model = Path(shutil.copytree(EMBEDDED_FOLDER, tmp_path / "mine"))
    run_cli("generate", "a cat", "--steps", "1", "-m", str(model), "-o", "a.png", "--record-paths")
    assert run_cli("inspect", "a.png", "--json").document["record"]["request"]["model"] == str(
        model
    )


def test_a_relative_path_is_recorded_in_full(run_cli, tmp_path, monkeypatch):
    shutil.copytree(EMBEDDED_FOLDER, tmp_path / "mine")
    argv = ("-m", "./mine", "-o", "a.png", "--record-paths")
    assert run_cli("generate", "a cat", "--steps", "1", "--device", "cpu", *argv).code == 0
    request = read_image_info(tmp_path / "a.png")["record"]["request"]
    assert request["model"] == str(tmp_path / "mine")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run_cli("replay", "../a.png", "--check").stdout == "../a.png: identical\n"
