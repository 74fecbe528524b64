"""The ControlNets that come with the embedded model: what they do, and how they are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, DDIMScheduler, StableDiffusionControlNetPipeline
from diffusers import StableDiffusionPipeline as Pipeline
from PIL import Image, ImageDraw

from sdcli.checkpoints.adapters.embedded_addons import EMBEDDED_CONTROLNETS
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.training.control_agreement import edge_agreement, map_agreement
from tests.conftest import RunCli
from tests.image_files import pixels_of, record_of
from tests.xl_models import write_xl_model

NAMES = ("edges", "layout")
QUICK = ("--size", "64x64", "--steps", "2", "-s", "ddim", "--device", "cpu", "--seed", "5")
FULL = ("--steps", "8", "--device", "cpu", "--seed", "5")


def write_disk(path: Path) -> np.ndarray:
    """Write a map with a disk at the lower left."""
    image = Image.new("L", (128, 128))
    ImageDraw.Draw(image).ellipse((2, 66, 61, 125), fill=255)
    image.save(path)
    return np.asarray(image)


def test_an_object_is_drawn_where_the_map_is_white(run_cli: RunCli, tmp_path: Path) -> None:
    drawn = write_disk(tmp_path / "map.png")
    argv = ("generate", "an orange circle on a blue background", *FULL, "-o", "a.png", "--force")
    free = run_cli(*argv)
    assert map_agreement(pixels_of(free.paths[0]), drawn) < 0.5
    guided = run_cli(*argv, "--controlnet", "embedded:layout", "--control-image", "map.png")
    assert guided.code == 0, guided.stderr
    assert map_agreement(pixels_of(guided.paths[0]), drawn) > 0.85


def test_edges_are_followed(run_cli: RunCli, tmp_path: Path) -> None:
    image = Image.new("RGB", (128, 128), (60, 110, 220))
    ImageDraw.Draw(image).rectangle((18, 42, 77, 101), fill=(250, 214, 50))
    image.save(tmp_path / "photo.png")
    argv = ("generate", "a pink square on a green background", *FULL, "-o", "a.png", "--force")
    control = ("--control-image", "photo.png", "--control-preprocess", "canny")
    ran = run_cli(*argv, "--controlnet", "embedded:edges", *control)
    assert ran.code == 0, ran.stderr
    edges = np.zeros((128, 128), np.uint8)
    edges[[42, 102], 18:78] = edges[42:102, [18, 78]] = 255
    assert edge_agreement(pixels_of(ran.paths[0]), edges) > 0.65
    assert "white edges on black" not in ran.stderr


def test_a_picture_instead_of_edges_is_warned_of(run_cli: RunCli, tmp_path: Path) -> None:
    Image.new("RGB", (128, 128), (60, 110, 220)).save(tmp_path / "photo.png")
    control = ("--controlnet", "embedded:edges", "--control-image", "photo.png")
    ran = run_cli("generate", "a cat", *QUICK, *control, "-o", "a.png")
    assert ran.code == 0
    assert "control image photo.png is not white edges on black" in ran.messages


@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_that_of_diffusers(name: str, run_cli: RunCli, tmp_path: Path) -> None:
    write_disk(tmp_path / "map.png")
    control = Image.open(tmp_path / "map.png").convert("RGB").crop((0, 64, 64, 128))
    control.save(tmp_path / "map.png")
    ran = run_cli(
        "generate", "a cat", *QUICK, "--controlnet", f"embedded:{name}", "--control-image",
        "map.png:0.8", "-o", "a.png",
    )  # fmt: skip
    assert ran.code == 0, ran.stderr
    plain = Pipeline.from_pretrained(EMBEDDED_FOLDER, dtype=torch.float32)
    network = ControlNetModel.from_pretrained(EMBEDDED_CONTROLNETS / name, dtype=torch.float32)
    pipeline = StableDiffusionControlNetPipeline(
        **plain.components, controlnet=network, requires_safety_checker=False
    )
    pipeline.scheduler = DDIMScheduler.from_pretrained(EMBEDDED_FOLDER, subfolder="scheduler")
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        "a cat", image=control, num_inference_steps=2, guidance_scale=3.0, width=64, height=64,
        controlnet_conditioning_scale=0.8, generator=torch.Generator().manual_seed(5),
    ).images[0]  # fmt: skip
    assert np.array_equal(pixels_of(ran.paths[0]), np.asarray(theirs))


def test_the_record_has_the_name_and_is_replayed(run_cli: RunCli, tmp_path: Path) -> None:
    write_disk(tmp_path / "map.png")
    control = ("--controlnet", "embedded:layout", "--control-image", "map.png")
    ran = run_cli("generate", "a cat", *QUICK, *control, "-o", "a.png")
    assert ran.code == 0, ran.stderr
    record = record_of(tmp_path / "a.png")
    assert record["request"]["controlnet"] == "embedded:layout"
    assert record["controlnets"][0]["name"] == "embedded:layout"
    assert "identical" in run_cli("replay", "a.png", "--check").stdout


def test_another_model_is_refused_with_the_reason(run_cli: RunCli, tmp_path: Path) -> None:
    write_disk(tmp_path / "map.png")
    write_xl_model(tmp_path / "xl")
    for name in NAMES:
        ran = run_cli(
            "generate", "a cat", *QUICK, "-m", "xl", "--controlnet", f"embedded:{name}",
            "--control-image", "map.png",
        )  # fmt: skip
        assert ran.code == 3
        assert "text embeddings of width 128, and this model has 40" in ran.stderr


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("--controlnet", "embedded:layuot"), ["did you mean embedded:layout?", "embedded:edges"]),
        (("--controlnet", "embedded:pose"), ["the embedded model has embedded:edges, embedded:la"]),
        (("--controlnet", "embedded:flag"), ["it is a LoRA: --lora embedded:flag"]),
        (("--controlnet", "embedded:../layout"), ["no ControlNet 'embedded:../layout'"]),
        (("--controlnet", "pose"), ["use embedded:layout, embedded:edges, a folder"]),
        (("--controlnet", "Layout"), ["did you mean embedded:layout?"]),
        (("--lora", "FAST"), ["did you mean embedded:fast?"]),
        (("--embedding", "holiday"), ["did you mean embedded:holiday?"]),
        (("--vae", "embedded:flag"), ["embedded:flag is a LoRA: --lora embedded:flag"]),
        (("--lora", "embedded:edges"), ["it is a ControlNet: --controlnet embedded:edges"]),
    ],
)
def test_names_that_are_wrong(
    argv: tuple[str, ...], words: list[str], run_cli: RunCli, tmp_path: Path
) -> None:
    write_disk(tmp_path / "map.png")
    control = ("--control-image", "map.png") if "--controlnet" in argv else ()
    ran = run_cli("generate", "a cat", *QUICK, *argv, *control)
    assert ran.code == 3
    assert all(word in ran.stderr for word in words), ran.stderr


@pytest.mark.parametrize("name", NAMES)
def test_they_are_found_described_and_small(name: str, run_cli: RunCli) -> None:
    folder = EMBEDDED_CONTROLNETS / name
    assert run_cli("models", "path", f"embedded:{name}").stdout == f"{folder}\n"
    shown = run_cli("inspect", f"embedded:{name}", "--json").document
    assert shown["kind"] == "controlnet"
    assert run_cli("models", "verify", f"embedded:{name}").code == 0
    assert sum(path.stat().st_size for path in folder.iterdir()) < 3.3e6
