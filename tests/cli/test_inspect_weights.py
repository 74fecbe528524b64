"""`sdcli inspect` of files of weights: named for what they are, from their headers."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.checkpoints.single_file.original_layout import ema_twins, with_prefix
from tests.checkpoints.single_file.test_true_sizes import meta_models, write_sparse
from tests.checkpoints.single_file.tiny_models import (
    SUPPORTED,
    build,
    tensors,
    tiny_configs,
    write_configs,
)
from tests.conftest import RunCli
from tests.test_startup import HEAVY, probe

UNET = "model.diffusion_model."


@pytest.mark.sample(4)
@pytest.mark.parametrize("family", SUPPORTED)
def test_true_sizes(family: str, run_cli: RunCli, tmp_path: Path) -> None:
    models = meta_models(family)
    path = write_sparse(tensors(family, models), tmp_path / "a.safetensors")
    found = run_cli("inspect", str(path), "--json").document
    parts = {part["name"]: part for part in found["parts"]}
    assert parts["unet"]["parameters"] == sum(p.numel() for p in models["unet"].parameters())
    assert (found["kind"], found["has_vae"], found["has_ema"]) == ("model", True, False)
    assert found["supported"]
    assert found["defaults"]["num_inference_steps"] > 0
    assert found["sha256"] is None
    # All bytes but those of the header belong to a part.
    with path.open("rb") as file:
        header = 8 + int.from_bytes(file.read(8), "little")
    assert sum(part["bytes"] for part in found["parts"]) + header == path.stat().st_size
    shown = run_cli("inspect", str(path)).stdout
    assert "add --hash" in shown
    # The guess for Stable Diffusion 2 is the larger model.
    side = {"sd1": 512, "sd1-inpaint": 512, "sd2-inpaint": 512, "sd2": 768}.get(family, 1024)
    assert (found["defaults"]["width"], found["defaults"]["height"]) == (side, side)
    is_refiner = family == "sdxl-refiner"
    assert (found["task"] == "refinement") == is_refiner
    assert ("runs: with --refiner, after a base model" in shown) == is_refiner


@pytest.fixture(scope="module")
def tiny() -> dict[str, torch.Tensor]:
    return tensors("sd1", build(tiny_configs("sd1")))


def test_a_file_that_needs_a_configuration_is_said_to(
    tiny: dict[str, torch.Tensor], run_cli: RunCli
) -> None:
    save_file({name: t.contiguous() for name, t in tiny.items()}, "a.safetensors")
    assert "runs: only with --model-config FOLDER" in run_cli("inspect", "a.safetensors").stdout
    plain = {name: t.contiguous() for name, t in tiny.items() if not name.startswith(UNET)}
    save_file(plain | ema_twins(tiny), "b.safetensors")
    found = run_cli("inspect", "b.safetensors", "--json").document
    assert (found["kind"], found["reasons"]) == ("ema", ["its UNet has EMA weights only"])


def test_a_pickle_is_described_as_the_same_weights_in_safetensors(
    tiny: dict[str, torch.Tensor], run_cli: RunCli, tmp_path: Path
) -> None:
    state = tiny | ema_twins(tiny)
    save_file({name: t.contiguous() for name, t in state.items()}, tmp_path / "a.safetensors")
    torch.save({"state_dict": state, "global_step": 7}, tmp_path / "a.ckpt")
    plain = run_cli("inspect", "a.safetensors", "--json").document
    pickled = run_cli("inspect", "a.ckpt", "--json").document
    for key in ("kind", "family", "reasons", "prediction_type", "parts", "defaults", "has_ema"):
        assert pickled[key] == plain[key], key
    assert pickled["has_ema"]
    assert pickled["globals"]["dangerous"] == pickled["globals"]["other"] == []
    assert pickled["not_tensors"] == {"global_step": "7"}
    digest = hashlib.sha256((tmp_path / "a.ckpt").read_bytes()).hexdigest()
    assert (pickled["sha256"], pickled["model_hash"]) == (digest, digest[:10])


def test_a_converted_checkpoint_draws_as_its_source(
    tiny: dict[str, torch.Tensor], run_cli: RunCli, tmp_path: Path
) -> None:
    save_file({name: t.contiguous() for name, t in tiny.items()}, tmp_path / "a.safetensors")
    torch.save({"state_dict": tiny}, tmp_path / "b.ckpt")
    assert run_cli("models", "convert", "b.ckpt", "b.safetensors").code == 0
    config = write_configs(tmp_path / "config", "sd1", tiny_configs("sd1"))
    hashes = []
    for name in ("a", "b"):
        argv = (
            "generate",
            "a cat",
            "-m",
            f"{name}.safetensors",
            "--steps",
            "1",
            "--seed",
            "7",
            "--model-config",
            str(config),
        )
        ran = run_cli(*argv, "--size", "64x64", "--no-metadata", "-o", f"{name}.png", "--json")
        assert ran.code == 0, ran.stdout
        hashes.append(ran.document["images"][0]["pixels_sha256"])
    assert hashes[0] == hashes[1]


def lora(**metadata: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    block = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    tensors = {
        f"{block}.lora_down.weight": torch.zeros(8, 768),
        f"{block}.lora_up.weight": torch.zeros(320, 8),
        f"{block}.alpha": torch.tensor(4.0),
        "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": torch.zeros(16, 768),
        "lora_te_text_model_encoder_layers_0_mlp_fc1.alpha": torch.tensor(16.0).half(),
    }
    return tensors, metadata


def test_a_lora_tells_rank_alpha_base_and_trigger_words(run_cli: RunCli, tmp_path: Path) -> None:
    tags = json.dumps({"10_x": {"my style": 9, "cat": 3}, "5_y": {"cat": 1}})
    cases: list[tuple[dict[str, str], list[str]]] = [
        ({"modelspec.trigger_phrase": "in my style"}, ["in my style"]),
        ({"ss_tag_frequency": tags}, ["my style", "cat"]),
        ({"ss_tag_frequency": "{"}, []),
        ({"ss_tag_frequency": '{"a": 1}'}, []),
        ({}, []),
    ]
    for metadata, words in cases:
        state, _ = lora()
        save_file(state, tmp_path / "l.safetensors", metadata=metadata)
        found = run_cli("inspect", "l.safetensors", "--json").document
        assert found["kind"] == "lora"
        assert found["addon"] == {
            "algorithm": "LoRA",
            "ranks": [8, 16],
            "alphas": [4.0, 16.0],
            "layers": {"text_encoder": 1, "unet": 1},
            "changes_text_encoder": True,
            "base": "Stable Diffusion 1",
            "few_steps": None,
            "trigger_words": words,
        }
        assert found["metadata"] == metadata
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        save_file({n: t.to(dtype) for n, t in state.items()}, tmp_path / "l.safetensors")
        found = run_cli("inspect", "l.safetensors", "--json").document
        assert found["addon"]["alphas"] == [4.0, 16.0]
    told = run_cli("inspect", "l.safetensors").stdout
    assert "kind: a LoRA" in told
    assert "ranks: 8, 16" in told


@pytest.mark.parametrize(
    ("name", "state", "kind", "facts"),
    [
        ("vae", with_prefix("", {"encoder.conv_in.weight": torch.zeros(8, 3, 3, 3)}), "vae", {}),
        ("style", {"emb_params": torch.zeros(4, 768)}, "embedding",
         {"vectors": 4, "widths": [768], "base": "Stable Diffusion 1", "trigger_words": ["style"]}),
        ("xl", {"clip_l": torch.zeros(2, 768), "clip_g": torch.zeros(2, 1280)}, "embedding",
         {"vectors": 2, "widths": [768, 1280], "base": "Stable Diffusion XL",
          "trigger_words": ["xl"]}),
        ("ip", {"image_proj.proj.weight": torch.zeros(1), "ip_adapter.1.to_k_ip.weight":
                torch.zeros(1)}, "ip-adapter",
         {"base": None, "variant": "plain", "text_width": None, "image_width": None, "layers": 1}),
        ("cn", {"control_model.input_blocks.0.0.weight": torch.zeros(8, 4, 3, 3)},
         "controlnet",
         {"base": None, "text_width": None, "image_channels": None, "layout": "original"}),
        ("none", {"w": torch.zeros(2)}, "unknown", {}),
        ("dora", {"lora_unet_x.lora_down.weight": torch.zeros(4, 8),
                  "lora_unet_x.dora_scale": torch.zeros(8, 1)}, "lora",
         {"algorithm": "DoRA", "ranks": [4], "alphas": [], "layers": {"unet": 1},
          "changes_text_encoder": False, "base": None, "few_steps": None, "trigger_words": []}),
        ("peft", {"base_model.model.text_model.encoder.layers.0.mlp.fc1.lora_A.weight":
                  torch.zeros(4, 8),
                  "base_model.model.text_model.encoder.layers.0.mlp.fc1.lora_magnitude_vector":
                  torch.zeros(8)}, "lora",
         {"algorithm": "DoRA", "ranks": [4], "alphas": [], "layers": {"text_encoder": 1},
          "changes_text_encoder": True, "base": None, "few_steps": None, "trigger_words": []}),
    ],
)  # fmt: skip
def test_other_files_are_named(
    name: str,
    state: dict[str, torch.Tensor],
    kind: str,
    facts: dict[str, Any],
    run_cli: RunCli,
    tmp_path: Path,
) -> None:
    save_file(state, tmp_path / f"{name}.safetensors")
    torch.save(state, tmp_path / f"{name}.pt")
    for suffix in ("safetensors", "pt"):
        found = run_cli("inspect", f"{name}.{suffix}", "--json").document
        assert (found["kind"], found["addon"]) == (kind, facts)
        assert sum(part["tensors"] for part in found["parts"]) == len(state)
        assert run_cli("inspect", f"{name}.{suffix}").code == 0


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty, not a file of weights"),
        (b"<!DOCTYPE html><html>login</html>", "is a web page"),
        (b"\xef\xbb\xbf\n <html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1\n", "Git LFS pointer"),
        (b'{"error": "Access denied"}', "is JSON text"),
        (b"GGUF\x03\x00\x00\x00", "is a GGUF file"),
        (b"7z\xbc\xaf\x27\x1c", "is a 7z archive"),
        (b"\x1f\x8b\x08\x00", "is compressed by gzip"),
        (b"\x89PNG\r\n\x1a\n", "is an image"),
        (b"PK\x05\x06" + bytes(18), "not a PyTorch checkpoint"),
        (b"\0" * 600, "safetensors"),
    ],
)
@pytest.mark.parametrize("name", ["x.safetensors", "x.ckpt"])
def test_what_is_no_file_of_weights_is_named(
    data: bytes, words: str, name: str, run_cli: RunCli, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(data)
    ran = run_cli("inspect", name)
    assert ran.code in (6, 7), ran.stderr
    assert words in ran.stderr
    assert "hint:" in ran.stderr
    assert run_cli("models", "convert", name, "y.safetensors").code == ran.code


def test_truncated_weights(run_cli: RunCli, tmp_path: Path) -> None:
    save_file({"emb_params": torch.zeros(40, 768)}, tmp_path / "x.safetensors")
    torch.save({"emb_params": torch.zeros(40, 768)}, tmp_path / "x.pt")
    for name in ("x.safetensors", "x.pt"):
        data = (tmp_path / name).read_bytes()
        for cut in range(1, 21):
            (tmp_path / name).write_bytes(data[: len(data) * cut // 21])
            ran = run_cli("inspect", name)
            assert (ran.code, name in ran.stderr) == (7, True), (cut, ran.stderr)


def test_other_suffixes_do_not_matter(run_cli: RunCli, tmp_path: Path) -> None:
    """The contents decide: safetensors are often renamed to .ckpt."""
    save_file({"emb_params": torch.zeros(4, 768)}, tmp_path / "x.ckpt")
    torch.save({"emb_params": torch.zeros(4, 768)}, tmp_path / "y.safetensors")
    kinds = [run_cli("inspect", name, "--json").document["format"]
             for name in ("x.ckpt", "y.safetensors")]  # fmt: skip
    assert kinds == ["safetensors", "pickle"]


@pytest.mark.parametrize(
    "argv", [["a.png"], ["a.png", "--as-command"], ["embedded"], ["a.latents.safetensors"]]
)
def test_a_hash_of_other_things_is_refused(argv: list[str], run_cli: RunCli) -> None:
    Image.new("RGB", (8, 8)).save("a.png")
    Path("a.latents.safetensors").write_bytes(b"")
    ran = run_cli("inspect", *argv, "--hash")
    assert ran.code == 2
    assert "--hash has no effect without a file of weights" in ran.stderr


def test_weights_need_no_torch(tmp_path: Path) -> None:
    save_file({"emb_params": torch.zeros(4, 768)}, tmp_path / "x.safetensors")
    torch.save({"emb_params": torch.zeros(4, 768)}, tmp_path / "x.pt")
    for name in ("x.safetensors", "x.pt"):
        code, modules = probe("inspect", str(tmp_path / name))
        assert code == 0
        assert not HEAVY & modules
    for verb in ("list", "verify"):
        code, modules = probe("models", verb, "--models-dir", str(tmp_path))
        assert code == 0
        assert not HEAVY & modules
