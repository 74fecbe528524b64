"""`-m FILE`: pictures, records and replay of single files, and errors about their options."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from PIL import Image

from sdcli.checkpoints.file_hashes import sha256
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.storage.images.codec import read_image_info
from tests.checkpoints.single_file.original_layout import checkpoint, save
from tests.xl_models import write_xl_model

pytestmark = pytest.mark.usefixtures("no_sockets")

CONFIG = ("--model-config", str(EMBEDDED_FOLDER))
QUICK = ("--steps", "2", "--seed", "7", "--size", "64x64", "--device", "cpu")
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@pytest.fixture(scope="session")
def state() -> Mapping[str, torch.Tensor]:
    """The tensors of the embedded model under the original names."""
    pipeline = StableDiffusionPipeline.from_pretrained(
        EMBEDDED_FOLDER, dtype=torch.float32, safety_checker=None, requires_safety_checker=False
    )
    return checkpoint(pipeline.components)


@pytest.fixture(scope="session")
def original(state: Mapping[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(state, tmp_path_factory.mktemp("file") / "my-emoji.safetensors")


@pytest.fixture
def model(original: Path, tmp_path: Path) -> Path:
    """The embedded model as a single file in the current folder."""
    return Path(shutil.copy(original, tmp_path))


@pytest.mark.sample(2)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_picture_is_that_of_from_single_file(
    run_cli: Any, state: Mapping[str, torch.Tensor], tmp_path: Path, dtype: str
) -> None:
    # A name of its own: the process keeps a loaded pipeline by its path.
    name = f"{dtype}.safetensors"
    path = save({k: t.to(DTYPES[dtype]) for k, t in state.items()}, tmp_path / name)
    ran = run_cli("generate", "a cat", "-m", name, *CONFIG, *QUICK, "-s", "DDIM",
                  "--dtype", "float32", "-g", "3", "-o", "a.png")  # fmt: skip
    assert ran.code == 0, ran.stderr

    plain = StableDiffusionPipeline.from_single_file(
        str(path), config=str(EMBEDDED_FOLDER), local_files_only=True, dtype=torch.float32
    )
    plain.scheduler = DDIMScheduler.from_config(plain.scheduler.config)
    plain.set_progress_bar_config(disable=True)
    generator = torch.Generator("cpu").manual_seed(7)
    expected = plain(
        "a cat", num_inference_steps=2, width=64, height=64, guidance_scale=3.0, generator=generator
    ).images[0]
    assert np.array_equal(np.asarray(Image.open("a.png")), np.asarray(expected))


def test_the_file_is_in_the_record_and_found_again(run_cli: Any, model: Path) -> None:
    run_cli("generate", "a cat", "-m", str(model), *CONFIG, *QUICK, "-o", "images/a.png")
    document = read_image_info("images/a.png")
    request, digest = document["record"]["request"], sha256(model)
    assert (request["model"], request["model_config"]) == (model.name, EMBEDDED_FOLDER.name)
    assert set(document["record"]["weights"].values()) == {digest}
    assert f"Model hash: {digest[:10]}, Model: my-emoji," in document["parameters"]
    assert str(model.parent) not in json.dumps(document["record"])

    shutil.copytree(EMBEDDED_FOLDER, EMBEDDED_FOLDER.name)
    model.rename("renamed.safetensors")
    ran = run_cli("replay", "images/a.png", "--check", "--json")
    assert (ran.code, ran.document["checks"][0]["verdict"]) == (0, "identical")


def test_replay_with_another_model_drops_what_was_about_the_file(run_cli: Any, model: Path) -> None:
    run_cli("generate", "a cat", "-m", str(model), *CONFIG, *QUICK, "-o", "a.png")
    assert run_cli("replay", "a.png", "--model", "embedded", "-o", "b.png").code == 0
    pixels = [read_image_info(name)["pixels_sha256"] for name in ("a.png", "b.png")]
    assert pixels[0] == pixels[1]


def test_latents_of_a_file_are_decoded(run_cli: Any, model: Path) -> None:
    shutil.copytree(EMBEDDED_FOLDER, EMBEDDED_FOLDER.name)
    run_cli("generate", "a cat", "-m", model.name, *CONFIG, *QUICK, "-o", "a.png",
            "--save-latents", "final")  # fmt: skip
    ran = run_cli("latents", "decode", "a.latents.safetensors", "-o", "b.png")
    assert ran.code == 0, ran.stderr
    pixels = [read_image_info(name)["pixels_sha256"] for name in ("a.png", "b.png")]
    assert pixels[0] == pixels[1]


def test_a_batch_is_resumed_by_the_contents_of_the_file(run_cli: Any, model: Path) -> None:
    Path("prompts.txt").write_text("a cat\na dog\n")
    batch = ("batch", "prompts.txt", *CONFIG, *QUICK, "-o", "out", "-m")
    assert len(run_cli(*batch, model.name).paths) == 2
    model.rename("moved.safetensors")
    plan = (*batch, "moved.safetensors", "--dry-run", "--json")
    assert run_cli(*plan).document["done"] == 2
    own = json.loads((EMBEDDED_FOLDER / "scheduler/scheduler_config.json").read_text())
    other = "epsilon" if own["prediction_type"] != "epsilon" else "sample"
    assert run_cli(*plan, "--prediction-type", other).document["done"] == 0


def test_the_prediction_type_can_be_set(run_cli: Any, model: Path) -> None:
    config = json.loads((EMBEDDED_FOLDER / "scheduler/scheduler_config.json").read_text())
    own = config["prediction_type"]
    other = "epsilon" if own == "v_prediction" else "v_prediction"
    pictures = {}
    for kind in (own, other):
        ran = run_cli("generate", "a cat", "-m", str(model), *CONFIG, *QUICK, "-s", "DDIM",
                      "--prediction-type", kind, "-o", f"{kind}.png")  # fmt: skip
        assert ran.code == 0, ran.stderr
        record = read_image_info(f"{kind}.png")["record"]
        assert record["request"]["prediction_type"] == kind
        assert record["scheduler"]["config"]["prediction_type"] == kind
        pictures[kind] = record["pixels"]["sha256"]
    assert pictures[own] != pictures[other]
    plain = ("generate", "a cat", *QUICK, "-s", "DDIM", "-o", "plain.png")
    assert run_cli(*plain).code == 0
    assert read_image_info("plain.png")["pixels_sha256"] == pictures[own]


def test_the_vae_may_be_missing(
    run_cli: Any, state: Mapping[str, torch.Tensor], tmp_path: Path
) -> None:
    no_vae = {k: t for k, t in state.items() if not k.startswith("first_stage_model.")}
    save(no_vae, tmp_path / "a.safetensors")
    shutil.copytree(EMBEDDED_FOLDER, "config", ignore=shutil.ignore_patterns("*.safetensors"))
    generate = ("generate", "a cat", "-m", "a.safetensors", "--model-config", "config", *QUICK)
    ran = run_cli(*generate, "-o", "a.png")
    assert (ran.code, "contains no VAE" in ran.stderr, "--vae" in ran.stderr) == (3, True, True)
    vae = ("--vae", str(EMBEDDED_FOLDER / "vae"))
    assert run_cli(*generate, *vae, "-o", "a.png").code == 0
    plain = ("generate", "a cat", *QUICK, "-o", "plain.png")
    assert run_cli(*plain).code == 0
    pixels = [read_image_info(name)["pixels_sha256"] for name in ("a.png", "plain.png")]
    assert pixels[0] == pixels[1]


@pytest.mark.parametrize("option", ["--prediction-type=epsilon", f"--model-config={CONFIG[1]}"])
def test_options_of_files_are_refused_for_folders(run_cli: Any, option: str) -> None:
    ran = run_cli("generate", "a cat", option)
    assert ran.code == 2
    assert "is not a single file" in ran.stderr


def test_an_unknown_prediction_type_is_refused(run_cli: Any, model: Path) -> None:
    ran = run_cli("generate", "a cat", "-m", str(model), "--prediction-type", "v")
    assert ran.code == 2
    assert "epsilon, v_prediction, sample" in ran.stderr


def test_an_error_about_the_configuration_names_the_file(
    run_cli: Any, model: Path, tmp_path: Path
) -> None:
    changed = Path(shutil.copytree(EMBEDDED_FOLDER, tmp_path / "config"))
    config = json.loads((changed / "unet/config.json").read_text())
    (changed / "unet/config.json").write_text(json.dumps({**config, "out_channels": 8}))
    Path("prompts.txt").write_text("a cat")
    for command in (("generate", "a cat"), ("batch", "prompts.txt", "--dry-run")):
        ran = run_cli(*command, "-m", model.name, "--model-config", "config",
                      "--prediction-type", "epsilon")  # fmt: skip
        assert ran.code == 3
        assert f"{model.name}: its UNet has 8 output channels" in ran.stderr


def test_an_error_about_a_refiner_names_its_file(run_cli: Any, model: Path, tmp_path: Path) -> None:
    write_xl_model(tmp_path / "xl")
    Path("prompts.txt").write_text("a cat")
    for command in (("generate", "a cat"), ("batch", "prompts.txt", "--dry-run")):
        ran = run_cli(*command, "-m", "xl", "--refiner", model.name, "--refiner-config",
                      str(EMBEDDED_FOLDER))  # fmt: skip
        assert ran.code == 3
        assert f"refiner: {model.name} is a " in ran.stderr


def test_the_vae_of_a_file_is_shown(run_cli: Any, model: Path) -> None:
    ran = run_cli("vae", "show", model.name, "--json")
    assert ran.code == 0, ran.stderr
    own = run_cli("vae", "show", "own", "--json").document
    assert ran.document["parameters"] == own["parameters"]
    assert ran.document["bytes"] == 4 * own["parameters"]
