"""The `vae` verbs: pictures to latents and back, and every file that is not what it should be."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.numerics.metrics import psnr
from tests.image_files import pixels_of
from tests.test_startup import HEAVY, probe

LATENTS = np.random.default_rng(0).standard_normal((4, 8, 8)).astype(np.float32)


@pytest.fixture
def latents(tmp_path: Path) -> Path:
    path = tmp_path / "bare.safetensors"
    save_file({"z": LATENTS}, path)
    return path


def generate(run_cli, *argv: str) -> None:
    ran = run_cli(
        "generate", "a cat", "--seed", "3", "--steps", "2", "--size", "64x64",
        "--save-latents", "final", "-o", "cat.png", *argv,
    )  # fmt: skip
    assert ran.code == 0, ran.stderr


@pytest.mark.parametrize("argv", [(), ("--vae", "tiny"), ("--dtype", "bfloat16")])
def test_the_last_latents_decode_to_the_picture(run_cli, argv):
    generate(run_cli, *argv)
    ran = run_cli("vae", "decode", "cat.latents.safetensors", "-o", "again.png")
    assert (ran.code, ran.stdout) == (0, "again.png\n")
    assert np.array_equal(pixels_of("again.png"), pixels_of("cat.png"))
    old, new = (
        run_cli("inspect", name, "--json").document["record"] for name in ("cat.png", "again.png")
    )
    assert new["request"] == old["request"]
    assert new["pixels"] == old["pixels"]
    assert new["decoded"]["latents"] == "cat.latents.safetensors"


def test_another_vae_is_what_generate_would_have_drawn(run_cli):
    generate(run_cli)
    run_cli("vae", "decode", "cat.latents.safetensors", "--vae", "tiny", "-o", "tiny.png")
    generate(run_cli, "--vae", "tiny", "--force")
    assert np.array_equal(pixels_of("tiny.png"), pixels_of("cat.png"))
    request = run_cli("inspect", "tiny.png", "--json").document["record"]["request"]
    assert request["vae"] == "tiny"


@pytest.mark.parametrize(("vae", "least"), [("own", 28), ("tiny", 18)])
def test_there_and_back(run_cli, vae, least):
    """A picture of the model's own world: that is all its VAEs were trained on."""
    prompt = "a cat and a guitar on a blue background"
    run_cli("generate", prompt, "--seed", "7", "-o", "cat.png")
    run_cli("vae", "encode", "cat.png", "--vae", vae, "-o", "s.safetensors")
    assert load_file("s.safetensors")["final"].shape == (4, 16, 16)
    ran = run_cli("vae", "decode", "s.safetensors", "--json")
    [image] = ran.document["images"]
    assert image["vae"] == vae  # as the file tells
    assert psnr(pixels_of(image["path"]), pixels_of("cat.png")) > least


def test_encoding_takes_the_mean_or_a_seeded_sample(run_cli, tmp_path):
    Image.new("RGB", (35, 33), "red").save(tmp_path / "red.png")
    ran = run_cli("vae", "encode", "red.png", "-o", "mean.safetensors")
    assert "cut from 35x33 to 32x32" in ran.stderr
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        run_cli("vae", "encode", "red.png", "--sample", "--seed", seed, "-o", f"{name}.safetensors")
    mean, a, b, c = (load_file(f"{n}.safetensors")["final"] for n in ("mean", "a", "b", "c"))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)
    assert not np.array_equal(a, mean)
    assert run_cli("vae", "encode", "red.png", "--seed", "1").code == 2
    assert run_cli("vae", "encode", "red.png", "--sample", "--vae", "tiny").code == 2


def test_transparency_becomes_white(run_cli, tmp_path):
    Image.new("RGBA", (32, 32), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.new("RGB", (32, 32), "white").save(tmp_path / "white.png")
    ran = run_cli("vae", "encode", "clear.png", "white.png", "--json")
    assert ran.code == 0
    first, second = ran.document["latents"]
    assert first["pixels_sha256"] == second["pixels_sha256"]
    assert np.array_equal(load_file(first["path"])["final"], load_file(second["path"])["final"])


def test_latents_of_another_tool_decode(run_cli, tmp_path, latents):
    assert run_cli("vae", "decode", str(latents), "-o", "one.png").code == 0
    record = run_cli("inspect", "one.png", "--json").document["record"]
    assert record["request"] == {}
    assert record["decoded"]["tensor"] == "z"
    save_file({"z": np.stack([LATENTS, LATENTS])}, tmp_path / "two.safetensors")
    ran = run_cli("vae", "decode", "two.safetensors")
    assert len(ran.paths) == 2
    assert all(np.array_equal(pixels_of(path), pixels_of("one.png")) for path in ran.paths)
    assert run_cli("vae", "decode", "two.safetensors", "-o", "x.png").code == 2


def test_compare_an_image(run_cli, tmp_path):
    Image.new("RGB", (64, 48), "orange").save(tmp_path / "a.png")
    ran = run_cli("vae", "compare", "a.png", "--vaes", "own,tiny", "-o", "sheet.png", "--json")
    rows = ran.document["vaes"]
    assert [row["vae"] for row in rows] == ["own", "tiny"]
    assert all(row["psnr"] > 10 and 0 < row["ssim"] <= 1 for row in rows)
    assert all(row["encode_seconds"] > 0 and row["decode_seconds"] > 0 for row in rows)
    assert pixels_of("sheet.png").shape[1] > 3 * 64


def test_compare_latents_with_the_first(run_cli, latents):
    ran = run_cli("vae", "compare", str(latents), "--vaes", "own,own,tiny", "-o", "s.png", "--json")
    first, same, other = ran.document["vaes"]
    assert (first["psnr"], first["identical"]) == (None, None)
    assert same["identical"] is True
    assert math.isclose(same["ssim"], 1)
    assert 0 < other["psnr"] < 60
    told = run_cli("vae", "compare", str(latents), "-o", "t.png")
    assert told.stdout == "t.png\n"
    assert "tiny" in told.stderr


def test_a_vae_that_does_not_fit_is_refused_or_forced(run_cli, tmp_path, latents):
    folder = shutil.copytree(EMBEDDED_FOLDER / "vae", tmp_path / "other")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"scaling_factor": 0.13025}))
    for verb in (
        ("vae", "decode", str(latents), "-o", "a.png"),
        ("vae", "compare", str(latents), "-o", "a.png"),
        ("generate", "a cat", "--steps", "1", "--size", "64x64", "-o", "a.png"),
    ):
        flag = "--vaes" if "compare" in verb else "--vae"
        ran = run_cli(*verb, flag, "other")
        assert ran.code == 3
        assert "washed out" in ran.stderr
        assert "--force-vae" in ran.stderr
        assert not Path("a.png").exists()
        forced = run_cli(*verb, flag, "other", "--force-vae", "--force")
        assert forced.code == 0
        assert forced.stderr.count("0.13025") == 1
        Path("a.png").unlink()
    run_cli("vae", "decode", str(latents), "--vae", "other", "--force-vae", "-o", "b.png")
    record = run_cli("inspect", "b.png", "--json").document["record"]
    assert "0.13025" in record["events"][0]


def broken(path: Path) -> dict[str, tuple[bytes, int]]:
    """Files that are not latents: their bytes, and the exit code that they get."""
    whole = path.read_bytes()

    def of(metadata: dict[str, str] | None = None, **arrays: np.ndarray) -> bytes:
        save_file(arrays, path, metadata=metadata)
        return path.read_bytes()

    return {
        "empty": (b"", 7),
        "cut": (whole[:-1], 7),
        "header": (whole[:20], 7),
        "garbage": (b"\xff" * 99, 7),
        "nan": (of(final=np.full((4, 8, 8), np.nan, np.float32)), 7),
        "record": (of({"record": "{"}, final=LATENTS), 7),
        "request": (of({"record": '{"request": {"prompt": 3}}'}, final=LATENTS), 7),
        "half": (of({"record": '{"request": {"prompt": "a cat"}}'}, final=LATENTS), 7),
        "channels": (of(final=np.zeros((16, 8, 8), np.float32)), 2),
        "flat": (of(final=np.zeros((8, 8), np.float32)), 2),
        "whole numbers": (of(final=np.zeros((4, 8, 8), np.int32)), 2),
        "weights": ((EMBEDDED_FOLDER / "vae/diffusion_pytorch_model.safetensors").read_bytes(), 2),
    }


def test_files_that_are_no_latents(run_cli, tmp_path, latents):
    for name, (data, code) in broken(latents).items():
        (tmp_path / "bad.safetensors").write_bytes(data)
        ran = run_cli("vae", "decode", "bad.safetensors", "-o", "bad.png")
        assert ran.code == code, f"{name}: {ran.stderr}"
        assert "bad.safetensors" in ran.stderr or name == "channels", name
        assert "sdcli: hint: " in ran.stderr, name
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "bad.safetensors",
            "bare.safetensors",
        ], name
    assert run_cli("vae", "decode", "none.safetensors").code == 2
    save_file({"final": LATENTS}, "good.safetensors")
    assert run_cli("vae", "decode", "good.safetensors", "--tensor", "fnal").code == 2


def test_a_broken_file_stops_no_other(run_cli, tmp_path, latents):
    (tmp_path / "bad.safetensors").write_bytes(b"no")
    ran = run_cli("vae", "decode", "bad.safetensors", str(latents), "--json")
    assert ran.code == 9
    assert len(ran.document["images"]) == 1
    assert ran.document["errors"][0]["code"] == "latents.corrupt"
    ran = run_cli("vae", "encode", "bad.safetensors", "--json")
    assert ran.code == 7
    assert ran.document["error"]["code"] == "image.corrupt"


def test_nothing_is_overwritten_unforced(run_cli, latents):
    for verb in ("decode", "compare"):
        assert run_cli("vae", verb, str(latents), "-o", "a.png").code in (0, 5)
        before = Path("a.png").read_bytes()
        assert run_cli("vae", verb, str(latents), "-o", "a.png").code == 5
        assert Path("a.png").read_bytes() == before
    assert run_cli("vae", "encode", "a.png", "-o", str(latents)).code == 5
    assert run_cli("vae", "encode", "a.png", "-o", "a.jpg").code == 2


def test_tiles_are_a_flag_of_every_decoder(run_cli, latents):
    run_cli("vae", "decode", str(latents), "--vae-tiling", "on", "-o", "a.png")
    generate(run_cli, "--vae-tiling", "on")
    request = run_cli("inspect", "cat.png", "--json").document["record"]["request"]
    assert request["vae_tiling"] == "on"
    assert run_cli("generate", "a cat", "--vae-tiling", "perhaps").code == 2


def test_list_and_show_need_no_torch():
    for argv in (["vae", "list"], ["vae", "show", "tiny"], ["vae", "--help"]):
        code, modules = probe(*argv)
        assert code == 0
        assert not HEAVY & modules


def test_list_and_show_tell(run_cli):
    rows = {row["name"]: row for row in run_cli("vae", "list", "--json").document["vaes"]}
    assert rows["tiny"]["class"] == "AutoencoderTiny"
    assert rows["own"]["fits"] is True
    assert rows["sdxl-vae"]["fits"] is False
    shown = run_cli("vae", "show", "own", "--json").document
    weights = load_file(EMBEDDED_FOLDER / "vae/diffusion_pytorch_model.safetensors")
    assert shown["parameters"] == sum(array.size for array in weights.values())
    assert (shown["latent_channels"], shown["misfit"]) == (4, None)
    assert "scaling factor: 1" in run_cli("vae", "show", "own").stdout
    assert run_cli("vae", "show", "taesd").code == 3
    assert run_cli("vae", "show", "tiyn").code == 3


def test_one_file_is_a_vae_for_every_command(run_cli):
    file = str(EMBEDDED_FOLDER / "vae" / "diffusion_pytorch_model.safetensors")
    generate(run_cli, "--vae", file)
    generate(run_cli, "-o", "own.png")
    assert (pixels_of("cat.png") == pixels_of("own.png")).all()
