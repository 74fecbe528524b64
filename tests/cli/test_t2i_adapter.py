"""T2I-Adapters at the command line: records, replay, rows, and what is refused with a reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.conftest import RunCli
from tests.engine.input_jobs import picture
from tests.image_files import pixels_of, record_of
from tests.t2i_adapters import write_adapter

QUICK = ("--size", "64x64", "--steps", "2", "--device", "cpu", "--seed", "5")
ADAPTER = ("--controlnet", "adapter", "--control-image")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_adapter(tmp_path / "adapter")
    for name, seed in (("a", 1), ("b", 2)):
        Image.fromarray(picture(seed)).save(f"{name}.png")
    return tmp_path


def test_it_is_recorded_replayed_and_set_by_rows(run_cli: RunCli) -> None:
    ran = run_cli("generate", "a cat", *QUICK, *ADAPTER, "a.png:0.8", "-o", "x.png")
    assert ran.code == 0, ran.stderr
    [entry] = record_of("x.png")["controlnets"]
    assert (entry["name"], entry["image"], entry["scale"]) == ("adapter", "a.png", 0.8)
    Path("adapter").rename("moved")
    assert "identical" in run_cli("replay", "x.png", "--check").stdout
    rows = [{"prompt": "a cat", "control_image": f"{name}.png:0.8"} for name in "ab"]
    Path("rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    ran = run_cli("batch", "rows.jsonl", *QUICK, "--controlnet", "moved", "-o", "out")
    first, second = (pixels_of(path) for path in ran.paths)
    assert (first == pixels_of("x.png")).all()
    assert (second != first).any()


def change_config(**changes: Any) -> None:
    path = Path("adapter/config.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def drop_tensor() -> None:
    path = Path("adapter/diffusion_pytorch_model.safetensors")
    state = load_file(path)
    state.pop("adapter.conv_in.bias")
    save_file(state, path)


@pytest.mark.parametrize(
    ("spoil", "code", "message"),
    [
        (lambda: write_adapter(Path("adapter"), channels=[64, 128, 128]), 3,
         "its outputs are 64 at 1/16, 128 at 1/16, 128 at 1/32, and the UNet takes 64 at 1/16"),
        (lambda: write_adapter(Path("adapter"), adapter_type="light_adapter"), 3,
         "does not fit"),
        (lambda: write_adapter(Path("adapter"), in_channels=4), 3, "images of 4 channels"),
        (lambda: change_config(downscale_factor=8), 7, "adapter.conv_in.weight"),
        (lambda: change_config(channels=[64, 128, 64]), 7, "the weights do not fit config.json"),
        (lambda: change_config(adapter_type="half"), 7, "adapter_type"),
        (lambda: change_config(num_res_blocks=10**9), 7, "num_res_blocks"),
        (drop_tensor, 7, "adapter.conv_in.bias"),
    ],
)  # fmt: skip
def test_what_does_not_fit_says_why(run_cli: RunCli, spoil: Any, code: int, message: str) -> None:
    spoil()
    ran = run_cli("generate", "a cat", *QUICK, *ADAPTER, "a.png", "-o", "x.png")
    assert (ran.code, message in " ".join(ran.stderr.split())) == (code, True), ran.stderr


def test_a_single_file_and_sides_that_it_cannot_divide_are_refused(run_cli: RunCli) -> None:
    size = ("--size", "72x64", "--steps", "2", "--seed", "5")
    ran = run_cli("generate", "a cat", *size, *ADAPTER, "a.png", "-o", "x.png")
    assert (ran.code, "multiples of 16, not 72" in ran.stderr) == (2, True), ran.stderr
    file = "adapter/diffusion_pytorch_model.safetensors"
    options = ("--controlnet", file, "--control-image", "a.png")
    ran = run_cli("generate", "a cat", *QUICK, *options, "-o", "x.png")
    assert (ran.code, "T2I-Adapter in one file" in ran.stderr) == (3, True), ran.stderr


def test_inspect_names_it(run_cli: RunCli) -> None:
    ran = run_cli("inspect", "adapter/diffusion_pytorch_model.safetensors")
    assert "T2I-Adapter" in ran.stdout
