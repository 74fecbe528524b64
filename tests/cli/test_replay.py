"""`sdcli replay`: the same picture again, and what is said when it is not."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from sdcli.errors import ExitCode
from sdcli.output.encode import read

QUICK = ("--steps", "2", "--seed", "7", "--device", "cpu")


def test_a_picture_is_made_again(run_cli):
    run_cli("generate", "a cat", *QUICK, "-o", "cat.png")
    [path] = run_cli("replay", "cat.png").paths
    assert read(path)["pixels_sha256"] == read("cat.png")["pixels_sha256"]
    again, before = read(path)["record"], read("cat.png")["record"]
    assert again | {"job": ""} == before | {"job": ""}


def test_changes_are_laid_over_the_record(run_cli):
    run_cli("generate", "a cat", *QUICK, "-o", "cat.png")
    changes = ("--set", "steps=1", "--set", "size=64x96", "--set", "guidance=2.5")
    run_cli("replay", "cat.png", *changes, "--set", "scheduler=Euler a", "-o", "new.png")
    request = read("new.png")["record"]["request"]
    assert (request["num_inference_steps"], request["width"], request["height"]) == (1, 64, 96)
    assert (request["guidance_scale"], request["scheduler"]) == (2.5, "Euler a")


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
    document = read("cat.png")
    document["record"]["versions"]["torch"] = "1.0"
    document["record"]["weights"]["unet"] = "0" * 64
    _with_record("cat.png", document["record"])
    ran = run_cli("replay", "cat.png", "--check")
    assert ran.code == 0
    assert "version of torch: 1.0 when recorded" in ran.stdout
    assert "weights of unet: 000" in ran.stdout


def test_check_tells_of_an_altered_file(run_cli):
    run_cli("generate", "a cat", *QUICK, "-o", "cat.png")
    record = read("cat.png")["record"]
    with Image.open("cat.png") as image:
        image.rotate(180).save("cat.png")
    _with_record("cat.png", record)
    ran = run_cli("replay", "cat.png", "--check")
    assert ran.code == ExitCode.DIFFERENT
    assert "altered" in ran.stdout


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


def _with_record(path, record):
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_itxt("sdcli", json.dumps(record))
    with Image.open(path) as image:
        image.copy().save(path, pnginfo=info)
