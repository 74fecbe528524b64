"""Single files of every family through the command line, against folders and Diffusers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from sdcli.checkpoints.file_hashes import sha256
from sdcli.storage.images.codec import read_image_info
from tests.checkpoints.single_file.original_layout import save
from tests.checkpoints.single_file.tiny_models import build, tensors, tiny_configs, write_configs
from tests.engine.xl.hand_calls import refine_by_hand, xl_job
from tests.image_files import pixels_of

pytestmark = pytest.mark.usefixtures("no_sockets")

QUICK = ("--seed", "5", "--size", "64x64", "--device", "cpu", "-s", "EulerDiscreteScheduler")
STEPS = ("--steps", "4", "-g", "5")
MASKED = ("--image", "in.png", "--mask", "mask.png", "--strength", "1", "--mask-blur", "0",
          "--no-keep-unmasked")  # fmt: skip


@dataclass(frozen=True)
class Made:
    """The same random model as a file with its configuration, and as a folder with weights."""

    file: Path
    config: Path
    folder: Path

    def as_file(self, field: str = "") -> tuple[str, ...]:
        names = ("--refiner", "--refiner-config") if field else ("-m", "--model-config")
        return names[0], str(self.file), names[1], str(self.config)


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    known: dict[str, Made] = {}

    def find(family: str) -> Made:
        if family not in known:
            place = tmp_path_factory.mktemp(family)
            configs = tiny_configs(family)
            models = build(configs)
            config = write_configs(place / f"{family}-config", family, configs)
            folder = Path(shutil.copytree(config, place / f"{family}-folder"))
            for name, model in models.items():
                model.save_pretrained(folder / name)
            # Diffusers asks the index of an inpainting model for it.
            index = json.loads((folder / "model_index.json").read_text())
            index["_diffusers_version"] = diffusers.__version__
            (folder / "model_index.json").write_text(json.dumps(index))
            file = save(tensors(family, models), place / f"{family}.safetensors")
            known[family] = Made(file, config, folder)
        return known[family]

    return find


@pytest.fixture(autouse=True)
def _inputs(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "in.png")
    mask = np.zeros((64, 64), np.uint8)
    mask[16:48, 8:40] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")


def draw(run_cli: Any, name: str, *arguments: str) -> np.ndarray:
    ran = run_cli("generate", "a cat", *arguments, *QUICK, "-o", name)
    assert ran.code == 0, ran.stderr
    return pixels_of(name)


def read_folder(made: Made) -> Any:
    index = json.loads((made.folder / "model_index.json").read_text())
    pipeline = getattr(diffusers, index["_class_name"]).from_pretrained(
        made.folder, dtype=torch.float32
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def draw_by_hand(made: Made, *, masked: bool) -> np.ndarray:
    pipeline = read_folder(made)
    pipeline.scheduler = diffusers.EulerDiscreteScheduler.from_config(
        pipeline.scheduler.load_config(made.folder, subfolder="scheduler")
    )
    inputs: dict[str, Any] = {}
    if masked:
        pictures = {"image": "in.png", "mask_image": "mask.png"}
        inputs = {name: Image.fromarray(pixels_of(path)) for name, path in pictures.items()}
        inputs["strength"] = 1.0
    image = pipeline(
        "a cat", num_inference_steps=4, guidance_scale=5.0, width=64, height=64,
        generator=torch.Generator("cpu").manual_seed(5), **inputs,
    ).images[0]  # fmt: skip
    return np.asarray(image)


@pytest.mark.sample(2)
@pytest.mark.parametrize("family", ["sdxl", "sd1-inpaint", "sd2-inpaint", "sdxl-inpaint"])
def test_a_file_draws_what_its_folder_and_diffusers_draw(
    run_cli: Any, make: Any, family: str
) -> None:
    made, masked = make(family), family.endswith("inpaint")
    arguments = (*STEPS, "--dtype", "float32", *(MASKED if masked else ()))
    from_file = draw(run_cli, "file.png", *made.as_file(), *arguments)
    assert np.array_equal(from_file, draw(run_cli, "a.png", "-m", str(made.folder), *arguments))
    assert np.array_equal(from_file, draw_by_hand(made, masked=masked))
    record = read_image_info("file.png")["record"]
    assert set(record["weights"].values()) == {sha256(made.file)}
    assert f"Model hash: {sha256(made.file)[:10]}" in read_image_info("file.png")["parameters"]
    ran = run_cli("inspect", str(made.file), "--json")
    assert ran.code == 0, ran.stderr


def test_two_files_draw_what_two_folders_and_diffusers_draw(
    run_cli: Any, make: Any, tmp_path: Path
) -> None:
    base, refiner = make("sdxl"), make("sdxl-refiner")
    run = (*STEPS, "--dtype", "float32", "--refiner-at", "0.5")
    files = draw(run_cli, "images/a.png", *base.as_file(), *refiner.as_file("refiner"), *run)
    folders = draw(
        run_cli, "b.png", "-m", str(base.folder), "--refiner", str(refiner.folder), *run
    )  # fmt: skip
    assert np.array_equal(files, folders)
    job = xl_job(prompt="a cat", seed=5, num_inference_steps=4, refiner_at=0.5, width=64, height=64)
    by_hand = refine_by_hand(read_folder(base), read_folder(refiner), base.folder, job)
    assert np.array_equal(files, by_hand)

    weights = read_image_info("images/a.png")["record"]["weights"]
    assert weights["unet"] == sha256(base.file)
    assert weights["refiner.unet"] == weights["refiner.text_encoder_2"] == sha256(refiner.file)
    for made, name in ((base, "base.safetensors"), (refiner, "refiner.safetensors")):
        shutil.copy(made.file, tmp_path / f"renamed-{name}")
        shutil.copytree(made.config, tmp_path / made.config.name)
    ran = run_cli("replay", "images/a.png", "--check", "--json")
    assert (ran.code, ran.document["checks"][0]["verdict"]) == (0, "identical"), ran.stderr
    shutil.rmtree(tmp_path / refiner.config.name)
    ran = run_cli("replay", "images/a.png", "--check")
    assert ran.code == 3
    assert "the record's refiner's configuration folder" in ran.stderr


def test_a_sweep_over_two_files_draws_both(run_cli: Any, make: Any, tmp_path: Path) -> None:
    made = make("sdxl")
    other = Path(shutil.copy(made.file, tmp_path / "other.safetensors"))
    data = bytearray(other.read_bytes())
    # The exponent stays as it is, so that all values are finite.
    data[-400_000::4] = bytes(len(data[-400_000::4]))
    other.write_bytes(data)
    models = f"{made.file},{other}"
    ran = run_cli("generate", "a cat", "-m", models, "--model-config", str(made.config),
                  *STEPS, *QUICK, "-o", "out")  # fmt: skip
    assert ran.code == 0, ran.stderr
    hashes = [read_image_info(str(path))["record"]["weights"]["unet"] for path in ran.paths]
    assert sorted(hashes) == sorted([sha256(made.file), sha256(other)])


def test_the_vae_of_an_xl_file_runs_in_float32_as_that_of_a_folder(run_cli: Any, make: Any) -> None:
    made = make("sdxl")
    run = (*STEPS, "--dtype", "float16")
    from_file = draw(run_cli, "file.png", *made.as_file(), *run)
    assert read_image_info("file.png")["record"]["vae_dtype"] == "float32"
    assert np.array_equal(from_file, draw(run_cli, "a.png", "-m", str(made.folder), *run))


def test_a_configuration_without_a_refiner_file_is_refused(run_cli: Any, make: Any) -> None:
    made = make("sdxl")
    config = ("--refiner-config", str(made.config))
    for refiner, problem in (((), "no refiner"), (("--refiner", str(made.folder)), "not a single")):
        ran = run_cli("generate", "a cat", *made.as_file(), *refiner, *config, *QUICK)
        assert ran.code == 2, ran.stderr
        assert problem in ran.stderr
