"""IP-Adapters through the command line: equal to Diffusers, records, replay, batches, refusals."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPVisionModelWithProjection
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from sdcli.checkpoints.adapters.embedded_addons import EMBEDDED_LORAS
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from tests.conftest import RunCli
from tests.engine.input_jobs import picture
from tests.image_files import pixels_of, record_of
from tests.ip_adapters import SIDE, make_image_encoder, make_ip_adapter, write_ip_adapter

QUICK = ("--size", "64x64", "--steps", "2", "-s", "ddim", "--device", "cpu", "--seed", "5")
PLAIN = ("--ip-adapter", "plain.safetensors")


@pytest.fixture(scope="module")
def unet() -> Any:
    return UNet2DConditionModel.from_pretrained(EMBEDDED_FOLDER / "unet", dtype=torch.float32)


@pytest.fixture(scope="module")
def made(unet: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two IP-Adapters in both formats, and an image encoder beside them."""
    folder = tmp_path_factory.mktemp("ip")
    make_image_encoder(folder / "image_encoder")
    plain = make_ip_adapter(unet, "plain")
    for suffix in ("safetensors", "bin"):
        write_ip_adapter(plain, folder / f"plain.{suffix}")
    write_ip_adapter(make_ip_adapter(unet, "plus", 1), folder / "plus.safetensors")
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path) -> Path:
    """The current folder of a test, with the IP-Adapters and images a.png and b.png."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    for name, seed in (("a", 1), ("b", 2)):
        Image.fromarray(picture(seed)).resize((80, 50)).save(tmp_path / f"{name}.png")
    Image.new("RGB", (1, 101)).save(tmp_path / "line.png")
    return tmp_path


def draw(run_cli: RunCli, *more: str, prompt: str = "a cat") -> np.ndarray:
    ran = run_cli("generate", prompt, *QUICK, *more, "-o", "drawn.png", "--force")
    assert ran.code == 0, ran.stderr
    return pixels_of(ran.paths[0])


def test_both_formats_equal_diffusers(run_cli: RunCli, here: Path) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(
        EMBEDDED_FOLDER,
        dtype=torch.float32,
        image_encoder=CLIPVisionModelWithProjection.from_pretrained(here / "image_encoder"),
        feature_extractor=CLIPImageProcessorPil(size=SIDE, crop_size=SIDE),
    )
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.load_ip_adapter(
        str(here), subfolder="", weight_name="plain.safetensors", image_encoder_folder=None
    )
    pipeline.set_ip_adapter_scale(0.6)
    expected = pipeline(
        "a cat", ip_adapter_image=Image.open(here / "a.png"), height=64, width=64,
        num_inference_steps=2, guidance_scale=3.0, generator=torch.Generator().manual_seed(5),
    ).images[0]  # fmt: skip
    options = ("--ip-image", "a.png:0.6", "--guidance", "3")
    ours = draw(run_cli, *PLAIN, *options)
    assert np.array_equal(ours, np.asarray(expected))
    assert np.array_equal(ours, draw(run_cli, "--ip-adapter", "plain.bin", *options))


def test_weight_zero_is_none_and_a_lora_works_beside_it(run_cli: RunCli, here: Path) -> None:
    free = draw(run_cli)
    assert np.array_equal(free, draw(run_cli, *PLAIN, "--ip-image", "a.png:0"))
    shown = draw(run_cli, *PLAIN, "--ip-image", "a.png")
    flag = draw(run_cli, "--lora", "embedded:flag")
    both = draw(run_cli, *PLAIN, "--ip-image", "a.png", "--lora", "embedded:flag")
    assert not any(np.array_equal(both, other) for other in (free, shown, flag))
    assert np.array_equal(free, draw(run_cli))


def test_rows_of_a_batch_have_their_own_images(run_cli: RunCli, here: Path) -> None:
    rows = here / "rows"
    rows.mkdir()
    shutil.move(here / "a.png", rows)
    lines = [
        {"ip_image": "a.png:0.5"},
        {"ip_image": "../b.png;a.png:0.2"},
        {"ip_image": "none", "ip_adapter": "none"},
        {"ip_image": "a.png", "ip_adapter": "../plus.safetensors"},
    ]
    text = "\n".join(json.dumps({"prompt": "a cat", **line}) for line in lines)
    (rows / "rows.jsonl").write_text(text)
    # Paths in the file are relative to it, those on the command line to the current folder.
    ran = run_cli("batch", "rows/rows.jsonl", *QUICK, *PLAIN, "-o", "out")
    assert ran.code == 0, ran.stderr
    together = [pixels_of(path) for path in sorted(ran.paths)]
    alone = [
        draw(run_cli, *PLAIN, "--ip-image", "rows/a.png:0.5"),
        draw(run_cli, *PLAIN, "--ip-image", "b.png", "--ip-image", "rows/a.png:0.2"),
        draw(run_cli),
        draw(run_cli, "--ip-adapter", "plus.safetensors", "--ip-image", "rows/a.png"),
    ]
    for ours, expected in zip(together, alone, strict=True):
        assert np.array_equal(ours, expected)
    again = run_cli("batch", "rows/rows.jsonl", *QUICK, *PLAIN, "-o", "out")
    assert (again.code, again.stderr) == (0, "sdcli: 0 images made, 4 done before\n")


def test_scales_are_swept_and_labelled(run_cli: RunCli, here: Path) -> None:
    ran = run_cli(
        "generate", "a cat", *QUICK, *PLAIN, "--ip-image", "a.png:0,a.png:1,b.png",
        "--grid", "ip_image", "-o", "out",
    )  # fmt: skip
    assert ran.code == 0, ran.stderr
    names = [path.name for path in ran.paths]
    assert len(names) == 4
    assert all(any(f"-{word}" in name for name in names) for word in ("a.png-0", "a.png-1"))


def test_a_record_says_all_and_is_replayed(run_cli: RunCli, here: Path) -> None:
    work = here / "work"
    work.mkdir()
    draw(run_cli, *PLAIN, "--ip-image", "a.png:0.8")
    shutil.move(here / "drawn.png", work / "drawn.png")
    record = record_of(work / "drawn.png")
    request = record["request"]
    assert request["ip_adapter"] == "plain.safetensors"
    assert request["ip_image"] == "a.png:0.8"
    assert request["ip_encoder"] == "image_encoder"
    [entry] = record["ip_adapters"]
    assert (entry["name"], entry["image"], entry["scale"]) == ("plain.safetensors", "a.png", 0.8)
    assert all(len(entry[n]) == 64 for n in ("sha256", "image_sha256", "encoder_sha256"))
    assert "identical" in run_cli("replay", "work/drawn.png", "--check").stdout
    # All three are found by their contents under other names.
    (here / "plain.bin").unlink()
    for name in ("plain.safetensors", "a.png", "image_encoder"):
        shutil.move(here / name, work / f"renamed-{name}")
    replayed = run_cli("replay", "work/drawn.png", "--check")
    assert "identical" in replayed.stdout, replayed.stderr
    for name, code, words in (
        ("renamed-a.png", 2, "ip_image: the record's input 'a.png'"),
        ("renamed-plain.safetensors", 3, "the record's IP-Adapter 'plain.safetensors'"),
        ("renamed-image_encoder", 3, "the record's image encoder 'image_encoder'"),
    ):
        (work / name).rename(here.parent / "hidden")
        gone = run_cli("replay", "work/drawn.png", "--check")
        assert (gone.code, words in gone.stderr) == (code, True), gone.stderr
        (here.parent / "hidden").rename(work / name)


def test_a_run_without_has_no_trace_of_them(run_cli: RunCli, here: Path) -> None:
    draw(run_cli)
    record = record_of(here / "drawn.png")
    assert not {name for name in record["request"] if name.startswith("ip_")}
    assert "ip_adapters" not in record


def test_both_passes_see_the_image(run_cli: RunCli, here: Path) -> None:
    options = ("--hires", "2x", "--hires-strength", "0.5", *PLAIN)
    shown = draw(run_cli, *options, "--ip-image", "a.png")
    first = draw(run_cli, *PLAIN, "--ip-image", "a.png")
    Image.fromarray(first).resize((128, 128), Image.Resampling.LANCZOS).save(here / "large.png")
    second = draw(
        run_cli, *PLAIN, "--ip-image", "a.png", "--image", "large.png", "--strength", "0.5",
        "--size", "128x128",
    )  # fmt: skip
    assert np.array_equal(shown, second)


@pytest.fixture(scope="module")
def bad_models(made: Path, unet: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files that cannot be used, by what is wrong with them."""
    here = tmp_path_factory.mktemp("bad")
    make_image_encoder(here / "image_encoder")
    good = load_file(made / "plain.safetensors")
    key = "ip_adapter.3.to_k_ip.weight"
    wrong = {
        "xl": {k: torch.ones(v.shape[0], 2048) if "to_k_ip" in k or "to_v_ip" in k else v
               for k, v in good.items()},
        "few": {k: v for k, v in good.items() if ".1.to_" not in k},
        "wide": good | {key: torch.ones(7, good[key].shape[1])},
        "lacks": {k: v for k, v in good.items() if k != "ip_adapter.3.to_v_ip.weight"},
        "norm": {k: v for k, v in good.items() if k != "image_proj.norm.bias"},
        "tokens": good | {"image_proj.proj.weight": torch.ones(3, 24)},
        "extra": good | {"more.weight": torch.ones(2)},
        "nan": good | {key: torch.full_like(good[key], float("nan"))},
        "whole": good | {key: torch.ones(good[key].shape, dtype=torch.int8)},
        "faceid": {k: v for k, v in good.items() if "image_proj" not in k}
        | {"image_proj.norm.weight": torch.ones(8), "image_proj.proj.0.weight": torch.ones(8, 8)},
    }  # fmt: skip
    for name, tensors in wrong.items():
        save_file(tensors, here / f"{name}.safetensors")
    (here / "cut.safetensors").write_bytes((made / "plain.safetensors").read_bytes()[:-100])
    torch.save({"image_proj": _Evil(), "ip_adapter": {"w": torch.ones(2)}}, here / "evil.bin")
    return {name: here / f"{name}.safetensors" for name in (*wrong, "cut")} | {
        "pickle": here / "evil.bin",
        "folder": here,
        "lora": EMBEDDED_LORAS / "flag.safetensors",
        "missing": here / "missing",
    }


class _Evil:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch evil-ran",)


@pytest.mark.parametrize(
    ("problem", "code", "words"),
    [
        ("xl", 3, ["does not fit embedded", "width 2048 (Stable Diffusion XL)", "has 128"]),
        ("few", 3, ["it has 3 layers, and the UNet has 4 layers of cross-attention"]),
        ("wide", 3, ["ip_adapter.3.to_k_ip.weight is 7x128, and the UNet needs"]),
        ("lacks", 7, ["lacks ip_adapter.3.to_v_ip.weight"]),
        ("norm", 7, ["lacks image_proj.norm.bias"]),
        ("tokens", 3, ["image_proj.proj.weight has 3 rows, and 512 are needed"]),
        ("extra", 3, ["of no part of an IP-Adapter: more.weight"]),
        ("nan", 7, ["3.to_k_ip.weight of ip_adapter has values that are not finite"]),
        ("whole", 3, ["holds I8, not floating-point numbers"]),
        ("faceid", 3, ["is a FaceID IP-Adapter"]),
        ("cut", 7, ["cut.safetensors", "but its header describes"]),
        ("pickle", 6, ["evil.bin names posix.system, which can run code; nothing was run"]),
        ("folder", 3, ["is a folder, and an IP-Adapter is one file"]),
        ("lora", 3, ["is a LoRA, not an IP-Adapter", "use it with --lora"]),
        ("missing", 3, ["no IP-Adapter at"]),
    ],
)
def test_models_that_cannot_be_used(
    run_cli: RunCli,
    here: Path,
    bad_models: dict[str, Path],
    problem: str,
    code: int,
    words: Sequence[str],
) -> None:
    options = ("--ip-adapter", str(bad_models[problem]), "--ip-image", "a.png", "-o", "x.png")
    ran = run_cli("generate", "a cat", *QUICK, *options)
    assert ran.code == code, ran.stderr
    assert all(word in ran.stderr for word in words), ran.stderr
    assert "ip_adapter: " in ran.stderr
    assert not (here / "x.png").exists()
    assert not (here / "evil-ran").exists()


def test_encoders_that_cannot_be_used(run_cli: RunCli, here: Path) -> None:
    make_image_encoder(here / "wide", projection_dim=32)
    make_image_encoder(here / "lying")
    config = json.loads((here / "lying" / "config.json").read_text())
    (here / "lying" / "config.json").write_text(json.dumps({**config, "image_size": 280}))
    for folder, code, words in (
        ("wide", 3, "makes image embeddings of width 32, and plain.safetensors takes 24"),
        ("lying", 7, "image_size is 280, which does not fit the weights"),
        (str(EMBEDDED_FOLDER / "text_encoder"), 3, "not a CLIP image encoder"),
        ("a.png", 3, "is a file; an image encoder is a folder"),
        ("nowhere", 3, "does not exist; an image encoder is a folder"),
    ):
        options = (*PLAIN, "--ip-image", "a.png", "--ip-encoder", folder, "-o", "x.png")
        ran = run_cli("generate", "a cat", *QUICK, *options)
        assert (ran.code, words in ran.stderr) == (code, True), ran.stderr
        assert "ip_encoder: " in ran.stderr
    (here / "image_encoder").rename(here / "elsewhere")
    ran = run_cli("generate", "a cat", *QUICK, *PLAIN, "--ip-image", "a.png", "-o", "x.png")
    assert (ran.code, "there is no folder image_encoder beside" in ran.stderr) == (3, True)
    found = (*PLAIN, "--ip-image", "a.png", "--ip-encoder", "elsewhere")
    assert draw(run_cli, *found).shape == (64, 64, 3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([*PLAIN], "ip_adapter: there is no image for it"),
        (["--ip-image", "a.png"], "ip_image: it has no effect without --ip-adapter"),
        (["--ip-encoder", "image_encoder"], "ip_encoder: it has no effect without"),
        ([*PLAIN, "--ip-adapter", "plus.safetensors", "--ip-image", "a.png"],
         "there are 2 IP-Adapters and 1 image"),
        ([*PLAIN, "--ip-image", "gone.png"], "no file at gone.png"),
        ([*PLAIN, "--ip-image", "line.png"], "line.png is 1x101, and a side may be at most 100"),
        ([*PLAIN, "--ip-image", "a.png:101"], "has a scale that is not"),
        ([*PLAIN, "--ip-image", ":1"], "does not name an image"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit_together(
    run_cli: RunCli, here: Path, options: Sequence[str], words: str
) -> None:
    ran = run_cli("generate", "a cat", *QUICK, *options, "-o", "x.png")
    assert ran.code == 2, ran.stderr
    assert words in ran.stderr


def test_a_prompt_file_is_checked_without_downloads(run_cli: RunCli, here: Path) -> None:
    # Any socket would fail the test.
    line = {"prompt": "a cat", "ip_adapter": "someone/ip/plain.safetensors", "ip_image": "a.png"}
    (here / "rows.jsonl").write_text(json.dumps(line))
    dry = run_cli("batch", "rows.jsonl", *QUICK, "-o", "out", "--dry-run", "--json")
    assert dry.code == 0, dry.stderr
    assert dry.document["images"] == 1
    offline = run_cli("batch", "rows.jsonl", *QUICK, "-o", "out", "--offline")
    assert "IP-Adapter someone/ip is not in the local cache" in offline.stderr


def test_a_file_says_what_it_is_and_where_it_belongs(run_cli: RunCli, here: Path) -> None:
    rows = (("plain.bin", "plain", 24), ("plus.safetensors", "plus", 64))
    for name, variant, image_width in rows:
        ran = run_cli("inspect", name, "--json")
        assert (ran.code, ran.document["kind"]) == (0, "ip-adapter")
        assert ran.document["addon"] == {
            "base": None, "variant": variant, "text_width": 128, "image_width": image_width,
            "layers": 4,
        }  # fmt: skip
    for option in ("--lora", "--model", "--controlnet"):
        more = ("--control-image", "a.png") if option == "--controlnet" else ()
        ran = run_cli("generate", "a cat", *QUICK, option, "plus.safetensors", *more, "-o", "x.png")
        assert ran.code == 3
        assert "is an IP-Adapter, not a" in ran.stderr
        assert "use it with --ip-adapter" in ran.stderr


def test_a_resumed_run_sees_the_image_as_before(run_cli: RunCli, here: Path) -> None:
    saved = ("--steps", "4", "--save-latents", "all")
    whole = draw(run_cli, *PLAIN, "--ip-image", "a.png:0.8", *saved)
    resumed = ("--from-step", "2", "-o", "resumed.png")
    ran = run_cli("latents", "resume", "drawn.latents.safetensors", *resumed)
    assert ran.code == 0, ran.stderr
    assert np.array_equal(pixels_of(here / "resumed.png"), whole)
