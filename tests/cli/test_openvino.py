"""--backend openvino at the command line: everything that an option of a pipeline must do."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

from sdcli.numerics.metrics import psnr
from sdcli.storage.images.codec import read_image_info
from sdcli.storage.images.pixels import read_pixels
from tests.embeddings import vectors, write_single

installed = pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO is not installed")
QUICK = ("--device", "cpu", "--dtype", "float32", "--size", "64x64", "--steps", "3", "--seed", "7")
OPENVINO = (*QUICK, "--backend", "openvino")


def pixels(path: str | Path) -> str:
    return str(read_image_info(Path(path))["pixels_sha256"])


def distance(left: str | Path, right: str | Path) -> float:
    return psnr(read_pixels(Path(left))[0], read_pixels(Path(right))[0])


@installed
def test_images_are_those_of_torch_and_are_recorded_and_replayed(run_cli):
    swept = run_cli("generate", "a cat", *QUICK, "--backend", "torch,openvino", "-o", "swept")
    assert swept.code == 0, swept.stderr
    torch, openvino = swept.paths
    assert distance(torch, openvino) >= 40
    record = read_image_info(openvino)["record"]
    assert (record["request"]["backend"], record["dtype"]) == ("openvino", "float32")
    assert record["versions"]["openvino"] == version("openvino")
    assert "openvino" not in read_image_info(torch)["record"]["versions"]
    assert run_cli("replay", str(openvino), "--check").stdout == f"{openvino}: identical\n"
    assert "--backend=openvino" in run_cli("inspect", str(openvino), "--as-command").stdout
    line = json.loads(run_cli("inspect", str(openvino), "--as-prompt-line").stdout)
    assert line["backend"] == "openvino"


@installed
def test_a_run_is_batched_saved_resumed_and_decoded(run_cli, tmp_path):
    Path("a.csv").write_text("prompt\na cat\na red star\n")
    one_by_one = run_cli("batch", "a.csv", *OPENVINO, "--save-latents", "all", "-o", "one")
    together = run_cli("batch", "a.csv", *OPENVINO, "--batch-size", "2", "-o", "two")
    assert (one_by_one.code, together.code) == (0, 0), together.stderr
    assert all(map(lambda a, b: distance(a, b) >= 40, one_by_one.paths, together.paths))
    image = str(one_by_one.paths[0])
    latents = image.replace(".png", ".latents.safetensors")
    for command in (
        ("latents", "resume", image, "--from-step", "1"),
        ("latents", "decode", latents),
        ("vae", "decode", latents),
    ):
        ran = run_cli(*command, "-o", "again.png", "--force")
        assert (ran.code, pixels("again.png")) == (0, pixels(image)), (command, ran.stderr)
    assert read_image_info(Path("again.png"))["record"]["versions"]["openvino"]
    # A journal of torch has none of these images.
    assert len(run_cli("batch", "a.csv", *OPENVINO, "-o", "one").paths) == 0
    dry = run_cli("batch", "a.csv", *QUICK, "-o", "one", "--dry-run", "--json").document
    assert [job["done"] for job in dry["jobs"]] == [False, False]


@installed
def test_images_schedules_long_prompts_and_embeddings_work(run_cli, tmp_path):
    write_single(tmp_path / "thing", vectors(2))
    assert run_cli("generate", "a cat", *OPENVINO, "-o", "in.png").code == 0
    long = "a cat " + "and a red star " * 30
    runs = (
        ("a cat", "--image", "in.png", "--strength", "0.7"),
        ("a cat AND a (star:1.3)", "--clip-skip", "1"),
        (f"[{long}:a star:0.5]", "-s", "Euler Karras"),
        ("a thing cat", "--embedding", str(tmp_path / "thing.safetensors")),
        ("a cat", "--hires", "1.5", "--hires-steps", "4", "--vae-tiling", "on"),
    )
    for backend in ("openvino", "torch"):
        for number, (prompt, *options) in enumerate(runs):
            out = f"{backend}-{number}.png"
            ran = run_cli("generate", prompt, *QUICK, *options, "--backend", backend, "-o", out)
            assert ran.code == 0, ran.stderr
    for number, argv in enumerate(runs):
        assert distance(f"openvino-{number}.png", f"torch-{number}.png") >= 40, argv


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--device", "cuda"), "runs on the CPU, not on cuda"),
        (("--dtype", "float16"), "computes in float32 or bfloat16, not in float16"),
        (("--feature-cache", "2", "--steps", "8"), "does not support --feature-cache"),
        (("--freeu", "b1=1.1,b2=1.2,s1=0.9,s2=0.2"), "does not support --freeu"),
        (("--lora", "embedded:flag"), "does not support --lora"),
        (("--trace", "t"), "does not support --trace"),
        (("--backend", "onnx"), "'onnx' is not torch, openvino"),
    ],
)
@installed
def test_what_cannot_work_is_refused(run_cli, argv, message):
    ran = run_cli("generate", "a cat", *OPENVINO, *argv)
    assert (ran.code, message in ran.stderr) == (2, True), ran.stderr
    assert len(ran.stderr.splitlines()) <= 2


@pytest.mark.parametrize("command", ["attention", "explain"])
@installed
def test_commands_that_observe_layers_are_refused(run_cli, command):
    ran = run_cli(command, "a cat", *OPENVINO)
    assert (ran.code, f"does not support {command}" in ran.stderr) == (2, True), ran.stderr


def test_without_the_package_the_hint_installs_it(run_cli, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    # Of settings that no other run had, in this process.
    ran = run_cli("generate", "a cat", *OPENVINO, "--steps", "5")
    assert (ran.code, ran.stderr.splitlines()) == (
        2,
        [
            "sdcli: error: backend: openvino is not installed",
            "sdcli: hint: pip install openvino, or use --backend torch",
        ],
    )


def test_doctor_names_it(run_cli):
    found = run_cli("doctor", "--json").document["optional"]["openvino"]
    assert (found["for"], found["version"] is not None) == (
        "--backend openvino",
        find_spec("openvino") is not None,
    )
