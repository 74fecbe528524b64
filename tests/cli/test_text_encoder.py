"""`--text-encoder`: folders and files in the place of the model's own text encoder."""

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
from transformers import CLIPTextConfig, CLIPTextModel

from sdcli.checkpoints.adapters.model_layers import read_layers
from sdcli.checkpoints.file_hashes import sha256
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.checkpoints.refiner import fetch_defaults
from sdcli.pipeline_spec import PipelineSpec
from sdcli.planning.prompt_syntax import reads_syntax
from sdcli.request import GenerationRequest
from sdcli.storage.images.codec import read_image_info
from tests.checkpoints.single_file.original_layout import openclip, original_clip, save, with_prefix

QUICK = ("--steps", "2", "--seed", "7", "--size", "64x64", "--device", "cpu", "-s", "DDIM", "-g",
         "3", "--dtype", "float32")  # fmt: skip


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random text encoder of the embedded model's width, and another depth."""
    config = json.loads((EMBEDDED_FOLDER / "text_encoder/config.json").read_text())
    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("models") / "other"
    model = CLIPTextModel(CLIPTextConfig(**{**config, "num_hidden_layers": 2}))
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def state(other: Path) -> Mapping[str, torch.Tensor]:
    states: Mapping[str, torch.Tensor] = CLIPTextModel.from_pretrained(other).state_dict()
    return states


def draw(run_cli: Any, encoder: Path, name: str = "a.png") -> np.ndarray:
    ran = run_cli("generate", "a cat", "--text-encoder", str(encoder), *QUICK, "-o", name)
    assert ran.code == 0, ran.stderr
    return np.asarray(Image.open(name))


def draw_by_hand(encoder: CLIPTextModel) -> np.ndarray:
    plain = StableDiffusionPipeline.from_pretrained(
        EMBEDDED_FOLDER, text_encoder=encoder, dtype=torch.float32, safety_checker=None
    )
    plain.scheduler = DDIMScheduler.from_config(plain.scheduler.config)
    plain.set_progress_bar_config(disable=True)
    generator = torch.Generator("cpu").manual_seed(7)
    image = plain("a cat", num_inference_steps=2, width=64, height=64, guidance_scale=3.0,
                  generator=generator).images[0]  # fmt: skip
    return np.asarray(image)


def test_a_folder_or_file_draws_what_diffusers_draws(
    run_cli: Any, other: Path, state: Mapping[str, torch.Tensor], tmp_path: Path
) -> None:
    expected = draw_by_hand(CLIPTextModel.from_pretrained(other, dtype=torch.float32))
    whole = {**original_clip(state), "vision_model.x": torch.ones(2), "logit_scale": torch.ones(())}
    checkpoint = with_prefix("cond_stage_model.transformer.", original_clip(state))
    sources = [
        other,
        Path(shutil.copy(other / "model.safetensors", tmp_path / "encoder.safetensors")),
        save(whole, tmp_path / "whole-clip.safetensors"),
        save(checkpoint, tmp_path / "checkpoint.safetensors"),
    ]
    for number, source in enumerate(sources):
        assert np.array_equal(draw(run_cli, source, f"{number}.png"), expected), source
    assert not np.array_equal(expected, draw(run_cli, EMBEDDED_FOLDER, "own.png"))


def test_a_file_of_openclip_has_its_activation(
    run_cli: Any, other: Path, state: Mapping[str, torch.Tensor], tmp_path: Path
) -> None:
    file = save(openclip(state), tmp_path / "open_clip.safetensors")
    config = CLIPTextConfig.from_pretrained(other)
    config.hidden_act = "gelu"
    encoder = CLIPTextModel.from_pretrained(other, config=config, dtype=torch.float32)
    assert np.array_equal(draw(run_cli, file), draw_by_hand(encoder))


def test_it_is_recorded_and_found_again_by_its_hash(
    run_cli: Any, other: Path, tmp_path: Path
) -> None:
    copied = Path(shutil.copytree(other, tmp_path / "encoder"))
    draw(run_cli, copied, "images/a.png")
    record = read_image_info("images/a.png")["record"]
    assert record["request"]["text_encoder"] == "encoder"
    assert record["weights"]["text_encoder"] == sha256(copied / "model.safetensors")
    assert str(tmp_path) not in json.dumps(record)
    copied.rename(tmp_path / "renamed")
    ran = run_cli("replay", "images/a.png", "--check", "--json")
    assert (ran.code, ran.document["checks"][0]["verdict"]) == (0, "identical"), ran.stderr
    shutil.rmtree(tmp_path / "renamed")
    ran = run_cli("replay", "images/a.png", "--check")
    assert (ran.code, "--set text_encoder=PATH" in ran.stderr) == (3, True), ran.stderr


def test_a_batch_counts_it_by_its_contents(run_cli: Any, other: Path, tmp_path: Path) -> None:
    Path("prompts.txt").write_text("a cat\n")
    batch = ("batch", "prompts.txt", *QUICK, "-o", "out")
    assert run_cli(*batch, "--text-encoder", str(other)).code == 0
    moved = shutil.copytree(other, tmp_path / "moved")
    plan = (*batch, "--dry-run", "--json")
    assert run_cli(*plan, "--text-encoder", str(moved)).document["done"] == 1
    assert run_cli(*plan).document["done"] == 0


def test_a_lora_changes_the_layers_that_it_has(other: Path) -> None:
    layers = read_layers(PipelineSpec(text_encoder=str(other))).shapes
    numbers = {name.split(".")[2] for part, name in layers if ".layers." in name and part != "unet"}
    assert numbers == {"0", "1"}


def test_its_own_tokenizer_tells_what_fits(other: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(other, tmp_path / "short")
    shutil.copytree(EMBEDDED_FOLDER / "tokenizer", folder, dirs_exist_ok=True)
    request = GenerationRequest(prompt="cat " * 30, spec=PipelineSpec(text_encoder=str(folder)))
    assert not reads_syntax(request, fetch_defaults(request.spec))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "model_max_length": 20}))
    assert reads_syntax(request, fetch_defaults(request.spec))


def test_what_does_not_fit_is_refused_before_loading(
    run_cli: Any, other: Path, state: Mapping[str, torch.Tensor], tmp_path: Path
) -> None:
    own = json.loads((EMBEDDED_FOLDER / "text_encoder/config.json").read_text())
    narrow = {**own, "hidden_size": 32, "num_attention_heads": 2}
    CLIPTextModel(CLIPTextConfig(**narrow)).save_pretrained("narrow")
    few = {name: t[:100] if "token_embedding" in name else t for name, t in state.items()}
    save(few, Path("few.safetensors"))
    save({"lora_unet_x.lora_down.weight": torch.ones(2, 2)}, Path("lora.safetensors"))
    shutil.copytree(other, "t5")
    Path("t5/config.json").write_text(json.dumps({"model_type": "t5", "hidden_size": 8}))
    Path("page.safetensors").write_text("<!DOCTYPE html>")
    Path("clip.bin").write_bytes(b"\x80\x02")
    cases = {
        "narrow": (3, f"makes embeddings 32 wide, but the text encoder of embedded makes "
                      f"{own['hidden_size']}"),
        "few.safetensors": (3, "knows 100 tokens"),
        "lora.safetensors": (3, "is a LoRA, not a text encoder"),
        "t5": (3, "is a t5, not a CLIP text encoder"),
        "page.safetensors": (7, "HTML"),
        "clip.bin": (6, "sdcli models convert"),
        "nowhere": (3, "no text encoder at"),
    }  # fmt: skip
    Path("prompts.txt").write_text("a cat\n")
    for name, (code, message) in cases.items():
        for command in (("generate", "a cat"), ("batch", "prompts.txt", "--dry-run")):
            ran = run_cli(*command, "--text-encoder", name, *QUICK)
            assert (ran.code, message in ran.stderr) == (code, True), (name, ran.stderr)
