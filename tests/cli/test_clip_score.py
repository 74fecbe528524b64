"""`score --model`: the CLIP score equals that of Transformers, and its files are checked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor, CLIPTokenizer

from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.errors import ExitCode
from tests.conftest import RunCli
from tests.gallery_images import drawn_pixels, write_image

HALF = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "projection_dim": 16,
}
LONG = "a cat " * 90


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a random CLIP model with the words of the embedded model."""
    folder = tmp_path_factory.mktemp("clip") / "model"
    tokenizer = CLIPTokenizer.from_pretrained(EMBEDDED_FOLDER / "tokenizer")
    words = {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id}
    config = CLIPConfig(
        text_config={**HALF, **words},
        vision_config={**HALF, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    torch.manual_seed(18)
    CLIPModel(config).save_pretrained(folder)
    sizes = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    CLIPImageProcessorPil(**sizes).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def model(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "clip"))


def by_hand(folder: Path, prompt: str, pixels: Any) -> float:
    """The score of a prompt and an image by Transformers alone."""
    model = CLIPModel.from_pretrained(folder)
    processor = CLIPProcessor(
        CLIPImageProcessorPil.from_pretrained(folder), CLIPTokenizer.from_pretrained(folder)
    )
    inputs = processor(text=[prompt], images=[pixels], return_tensors="pt", truncation=True)
    with torch.no_grad():
        output = model(**inputs)
    return max(0.0, 100 * float((output.text_embeds * output.image_embeds).sum()))


def scores(run_cli: RunCli, *argv: str) -> dict[str, float | None]:
    ran = run_cli("score", *argv, "--json")
    assert ran.code == 0, ran.stderr
    return {Path(row["path"]).name: row["clip_score"] for row in ran.document["images"]}


def test_it_is_the_score_of_transformers(run_cli: RunCli, model: Path, tmp_path: Path) -> None:
    first, second = drawn_pixels()[:2]
    write_image(tmp_path / "run/a.png", first, prompt="a cat", model="any/model")
    write_image(tmp_path / "run/b.png", second[:96, :64], prompt="a red star")
    write_image(tmp_path / "run/weighted.png", first, prompt="(a cat:1.3)", prompt_syntax="a1111")
    write_image(tmp_path / "run/plain.png", first, prompt="(a cat:1.3)", prompt_syntax="plain")
    write_image(tmp_path / "run/long.png", first, prompt=LONG)
    found = scores(run_cli, "run", "--model", str(model))
    assert found == pytest.approx(
        {
            "a.png": by_hand(model, "a cat", first),
            "b.png": by_hand(model, "a red star", second[:96, :64]),
            "weighted.png": by_hand(model, "a cat", first),
            "plain.png": by_hand(model, "(a cat:1.3)", first),
            "long.png": by_hand(model, LONG, first),
        },
        rel=1e-4,
    )
    assert len({found[name] for name in ("a.png", "b.png", "plain.png", "long.png")}) == 4


def test_an_image_without_a_prompt_has_none(run_cli: RunCli, model: Path, tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(drawn_pixels()[0]).save(tmp_path / "photo.jpg")
    assert scores(run_cli, "photo.jpg", "--model", str(model)) == {"photo.jpg": None}


def test_galleries_and_pick_use_it(run_cli: RunCli, model: Path, tmp_path: Path) -> None:
    for name, pixels in zip("ab", drawn_pixels(), strict=False):
        write_image(tmp_path / f"run/{name}.png", pixels, prompt="a cat")
    early = run_cli("pick", "run", "--by", "clip_score")
    assert (early.code, "sdcli score IMAGES --model FOLDER --sidecar" in early.stderr) == (2, True)
    found = scores(run_cli, "run", "--model", str(model), "--sidecar")
    best = max(found, key=lambda name: found[name] or 0)
    picked = run_cli("pick", "run", "--by", "clip_score", "--top", "1")
    assert picked.stdout.strip() == f"run/{best}"
    assert run_cli("gallery", "run").code == 0
    assert '"clip_score"' in Path("run/gallery.html").read_text("utf-8")


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_settings_of_transformers_4_and_of_one_file(
    run_cli: RunCli, model: Path, tmp_path: Path
) -> None:
    pixels = drawn_pixels()[0]
    write_image(tmp_path / "a.png", pixels, prompt="a cat")
    expected = scores(run_cli, "a.png", "--model", str(model))
    settings = json.loads((model / "preprocessor_config.json").read_text())
    old = settings | {"size": 32, "crop_size": 32, "feature_extractor_type": "CLIP"}
    (model / "preprocessor_config.json").write_text(json.dumps(old))
    assert scores(run_cli, "a.png", "--model", str(model)) == expected
    (model / "preprocessor_config.json").unlink()
    (model / "processor_config.json").write_text(json.dumps({"image_processor": settings}))
    assert scores(run_cli, "a.png", "--model", str(model)) == expected
    config = json.loads((model / "config.json").read_text())
    edit(model / "config.json", text_config={}, text_config_dict=config["text_config"])
    assert scores(run_cli, "a.png", "--model", str(model)) == expected


def damage(model: Path, kind: str) -> None:
    """Damage a folder in a way."""
    config = model / "config.json"
    if kind == "pickle":
        (model / "model.safetensors").rename(model / "pytorch_model.bin")
    elif kind == "short":
        data = (model / "model.safetensors").read_bytes()
        (model / "model.safetensors").write_bytes(data[: len(data) // 2])
    elif kind == "another model":
        edit(config, model_type="siglip")
    elif kind == "huge":
        edit(config, text_config={**HALF, "num_hidden_layers": 10**9})
    elif kind == "other sizes":
        edit(config, vision_config={**HALF, "image_size": 32, "patch_size": 4})
    elif kind == "more layers":
        layers = json.loads(config.read_text())["text_config"] | {"num_hidden_layers": 3}
        edit(config, text_config=layers)
    elif kind == "no half":
        edit(config, vision_config={})
    elif kind == "preprocessing":
        edit(model / "preprocessor_config.json", image_mean="x")
    else:
        (model / kind).unlink()


@pytest.mark.parametrize(
    ("kind", "code", "message"),
    [
        ("pickle", ExitCode.UNSAFE, "is a pickle"),
        ("short", ExitCode.CORRUPT, "model.safetensors"),
        ("another model", ExitCode.MODEL, "model_type is 'siglip'"),
        ("huge", ExitCode.CORRUPT, "text_config"),
        ("other sizes", ExitCode.CORRUPT, "has another shape of vision_model.embeddings"),
        ("more layers", ExitCode.CORRUPT, "lacks"),
        ("no half", ExitCode.CORRUPT, "no vision_config"),
        ("preprocessing", ExitCode.CORRUPT, "mean must have 3 elements"),
        ("config.json", ExitCode.MODEL, "no config.json"),
        ("model.safetensors", ExitCode.MODEL, "no .safetensors file"),
        ("preprocessor_config.json", ExitCode.MODEL, "no preprocessor_config.json"),
        ("tokenizer.json", ExitCode.MODEL, "neither tokenizer.json nor"),
    ],
)
def test_damaged_folders(
    run_cli: RunCli, model: Path, tmp_path: Path, kind: str, code: int, message: str
) -> None:
    write_image(tmp_path / "a.png", drawn_pixels()[0], prompt="a cat")
    damage(model, kind)
    ran = run_cli("score", "a.png", "--model", str(model))
    assert (ran.code, ran.stdout) == (code, ""), ran.stderr
    assert message in ran.stderr
    assert "Traceback" not in ran.stderr


def test_no_such_folder(run_cli: RunCli, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", prompt="a cat")
    ran = run_cli("score", "a.png", "--model", "nowhere")
    assert (ran.code, "nowhere: no such folder" in ran.stderr) == (ExitCode.MODEL, True)
