"""ControlNets through the command line: equal to Diffusers, records, replay, batches, refusals."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from diffusers import (
    ControlNetModel,
    DDIMScheduler,
    StableDiffusionControlNetImg2ImgPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from PIL import Image
from safetensors.torch import load_file, save_file

from sdcli.checkpoints.adapters.embedded_addons import EMBEDDED_LORAS
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from tests.conftest import RunCli
from tests.controlnets import make_controlnet, write_controlnet
from tests.engine.input_jobs import picture
from tests.image_files import pixels_of, record_of
from tests.xl_models import write_xl_model

QUICK = ("--size", "64x64", "--steps", "2", "-s", "ddim", "--device", "cpu", "--seed", "5")


@pytest.fixture(scope="module")
def unet() -> Any:
    return UNet2DConditionModel.from_pretrained(EMBEDDED_FOLDER / "unet", dtype=torch.float32)


@pytest.fixture(scope="module")
def made(unet: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a ControlNet as a folder and as a file, and another one."""
    folder = tmp_path_factory.mktemp("controlnets")
    network = make_controlnet(unet, 0)
    network.save_pretrained(folder / "edges")
    write_controlnet(network, folder / "edges.safetensors", "control_model")
    write_controlnet(make_controlnet(unet, 1), folder / "depth.safetensors", "diffusers")
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path) -> Path:
    """The current folder of a test, with the ControlNets and control images a.png and b.png."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    for name, seed in (("a", 1), ("b", 2)):
        Image.fromarray(picture(seed)).save(tmp_path / f"{name}.png")
    return tmp_path


def draw(run_cli: RunCli, *more: str, prompt: str = "a cat") -> np.ndarray:
    ran = run_cli("generate", prompt, *QUICK, *more, "-o", "drawn.png", "--force")
    assert ran.code == 0, ran.stderr
    return pixels_of(ran.paths[0])


EDGES = ("--controlnet", "edges.safetensors")


def draw_by_hand(folder: Path, cls: Any = StableDiffusionControlNetPipeline, **more: Any) -> Any:
    plain = StableDiffusionPipeline.from_pretrained(EMBEDDED_FOLDER, dtype=torch.float32)
    network = ControlNetModel.from_pretrained(folder / "edges", dtype=torch.float32)
    pipeline = cls(**plain.components, controlnet=network, requires_safety_checker=False)
    pipeline.scheduler = DDIMScheduler.from_pretrained(EMBEDDED_FOLDER, subfolder="scheduler")
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(5)
    image = pipeline(
        "a cat", num_inference_steps=2, guidance_scale=3.0, generator=generator, **more
    ).images[0]
    return np.asarray(image)


def test_an_image_is_that_of_diffusers(run_cli: RunCli, here: Path) -> None:
    ours = draw(run_cli, *EDGES, "--control-image", "a.png:0.7:0:0.5")
    options = {"controlnet_conditioning_scale": 0.7, "control_guidance_end": 0.5}
    control = Image.open(here / "a.png")
    theirs = draw_by_hand(here, image=control, width=64, height=64, **options)
    assert np.array_equal(ours, theirs)
    assert not np.array_equal(ours, draw(run_cli))


def test_edges_of_a_photo_are_those_of_opencv(run_cli: RunCli, here: Path) -> None:
    squares = np.zeros((64, 64, 3), np.uint8)
    squares[16:40, 20:50] = (250, 240, 60)
    Image.fromarray(squares).save(here / "photo.png")
    edges = cv2.Canny(cv2.cvtColor(squares, cv2.COLOR_RGB2GRAY), 100, 200)
    assert 0 < (edges > 0).mean() < 0.2
    Image.fromarray(edges).save(here / "edges.png")
    found = draw(run_cli, *EDGES, "--control-image", "photo.png", "--control-preprocess", "canny")
    given = draw(run_cli, *EDGES, "--control-image", "edges.png")
    assert np.array_equal(found, given)
    raw = draw(run_cli, *EDGES, "--control-image", "photo.png", "--control-preprocess", "none")
    assert not np.array_equal(found, raw)


def test_each_of_several_has_its_own_preprocessor(run_cli: RunCli, here: Path) -> None:
    two = (*EDGES, "--controlnet", "depth.safetensors", "--control-image", "a.png")
    both = draw(
        run_cli, *two, "--control-image", "b.png:0.5", "--control-preprocess", "none",
        "--control-preprocess", "canny",
    )  # fmt: skip
    gray = cv2.cvtColor(picture(2), cv2.COLOR_RGB2GRAY)
    Image.fromarray(cv2.Canny(gray, 100, 200)).save(here / "c.png")
    assert np.array_equal(both, draw(run_cli, *two, "--control-image", "c.png:0.5"))


def test_a_scale_of_zero_is_no_controlnet(run_cli: RunCli, here: Path) -> None:
    assert np.array_equal(draw(run_cli, *EDGES, "--control-image", "a.png:0"), draw(run_cli))
    two = (*EDGES, "--controlnet", "depth.safetensors", "--control-image")
    one = draw(run_cli, *EDGES, "--control-image", "a.png")
    assert np.array_equal(draw(run_cli, *two, "a.png", "--control-image", "b.png:0"), one)


def test_rows_of_a_batch_have_their_own_images(run_cli: RunCli, here: Path) -> None:
    rows = here / "rows"
    rows.mkdir()
    shutil.move(here / "a.png", rows)
    lines = [
        {"control_image": "a.png:0.5"},
        {"control_image": "../b.png"},
        {"control_image": "none", "controlnet": "none"},
        {"control_image": "a.png", "controlnet": "../depth.safetensors"},
    ]
    text = "\n".join(json.dumps({"prompt": "a cat", **line}) for line in lines)
    (rows / "rows.jsonl").write_text(text)
    # Paths in the file are relative to it, those on the command line to the current folder.
    ran = run_cli("batch", "rows/rows.jsonl", *QUICK, *EDGES, "-o", "out")
    assert ran.code == 0, ran.stderr
    together = [pixels_of(path) for path in sorted(ran.paths)]
    alone = [
        draw(run_cli, *EDGES, "--control-image", "rows/a.png:0.5"),
        draw(run_cli, *EDGES, "--control-image", "b.png"),
        draw(run_cli),
        draw(run_cli, "--controlnet", "depth.safetensors", "--control-image", "rows/a.png"),
    ]
    for ours, expected in zip(together, alone, strict=True):
        assert np.array_equal(ours, expected)
    again = run_cli("batch", "rows/rows.jsonl", *QUICK, *EDGES, "-o", "out")
    assert (again.code, again.stderr) == (0, "sdcli: 0 images made, 4 done before\n")


def test_values_are_swept_and_labelled(run_cli: RunCli, here: Path) -> None:
    ran = run_cli(
        "generate", "a cat", *QUICK, *EDGES, "--control-image", "a.png:0,a.png:1,b.png",
        "--grid", "control_image", "-o", "out",
    )  # fmt: skip
    assert ran.code == 0, ran.stderr
    names = [path.name for path in ran.paths]
    assert len(names) == 4
    assert all(any(f"-{word}" in name for name in names) for word in ("a.png-0", "a.png-1"))
    # The folder of a control image is nobody's business.
    assert str(here) not in " ".join(names)


def test_a_record_says_all_and_is_replayed(run_cli: RunCli, here: Path) -> None:
    work = here / "work"
    work.mkdir()
    drawn = draw(run_cli, *EDGES, "--control-image", "a.png:0.8:0.1", "--control-preprocess",
                 "canny")  # fmt: skip
    shutil.move(here / "drawn.png", work / "drawn.png")
    record = record_of(work / "drawn.png")
    request = record["request"]
    assert request["controlnet"] == "edges.safetensors"
    assert request["control_image"] == "a.png:0.8:0.1"
    assert request["control_preprocess"] == "canny"
    [entry] = record["controlnets"]
    assert (entry["name"], entry["image"], entry["preprocess"]) == (
        "edges.safetensors", "a.png", "canny",
    )  # fmt: skip
    assert [entry[name] for name in ("scale", "start", "end")] == [0.8, 0.1, 1.0]
    assert len(entry["sha256"]) == len(entry["image_sha256"]) == 64
    replayed = run_cli("replay", "work/drawn.png", "--check")
    assert "identical" in replayed.stdout, replayed.stderr
    # Both are found by their contents under other names.
    for name in ("edges.safetensors", "a.png"):
        shutil.move(here / name, work / f"renamed-{name}")
    shutil.rmtree(here / "edges")
    assert "identical" in run_cli("replay", "work/drawn.png", "--check").stdout
    (work / "renamed-a.png").rename(here / "a.txt")
    gone = run_cli("replay", "work/drawn.png", "--check")
    assert (gone.code, "control_image: the record's input 'a.png'" in gone.stderr) == (2, True)
    (here / "a.txt").rename(work / "renamed-a.png")
    (work / "renamed-edges.safetensors").rename(here / "edges.txt")
    gone = run_cli("replay", "work/drawn.png", "--check")
    assert (gone.code, "the record's ControlNet 'edges.safetensors'" in gone.stderr) == (3, True)
    assert drawn.shape == (64, 64, 3)


def test_the_controlnet_in_the_folder_of_a_pipeline_is_replayed(
    run_cli: RunCli, here: Path
) -> None:
    work = here / "work"
    shutil.copytree(here / "edges", work / "model" / "controlnet")
    draw(run_cli, "--controlnet", "work/model", "--control-image", "a.png")
    shutil.move(here / "drawn.png", work)
    (here / "elsewhere").mkdir()
    for name in ("edges", "edges.safetensors", "depth.safetensors"):
        shutil.move(here / name, here / "elsewhere")
    assert "identical" in run_cli("replay", "work/drawn.png", "--check").stdout
    (work / "model").rename(work / "renamed")
    replayed = run_cli("replay", "work/drawn.png", "--check")
    assert "identical" in replayed.stdout, replayed.stderr


def test_a_run_without_has_no_trace_of_them(run_cli: RunCli, here: Path) -> None:
    draw(run_cli)
    record = record_of(here / "drawn.png")
    assert not {name for name in record["request"] if name.startswith("control")}
    assert "controlnets" not in record


def test_another_shape_is_fitted_and_said(run_cli: RunCli, here: Path) -> None:
    wide = Image.fromarray(picture(1)).resize((128, 64))
    wide.save(here / "wide.png")
    ran = run_cli("generate", "a cat", *QUICK, *EDGES, "--control-image", "wide.png", "-o", "x.png")
    assert "control image wide.png was scaled and cropped from 128x64 to 64x64" in ran.stderr
    assert any("wide.png was scaled" in event for event in record_of(here / "x.png")["events"])
    wide.crop((32, 0, 96, 64)).save(here / "middle.png")
    cropped = draw(run_cli, *EDGES, "--control-image", "middle.png")
    assert np.array_equal(pixels_of(here / "x.png"), cropped)
    wide.resize((64, 64), Image.Resampling.LANCZOS).save(here / "narrow.png")
    stretched = draw(run_cli, *EDGES, "--control-image", "wide.png", "--resize", "stretch")
    assert np.array_equal(stretched, draw(run_cli, *EDGES, "--control-image", "narrow.png"))


def test_a_second_pass_is_guided_at_its_own_size(run_cli: RunCli, here: Path) -> None:
    large = Image.fromarray(picture(1)).resize((128, 128), Image.Resampling.LANCZOS)
    large.save(here / "large.png")
    first = draw(run_cli, *EDGES, "--control-image", "large.png")
    small = Image.fromarray(first).resize((128, 128), Image.Resampling.LANCZOS)
    ours = draw(
        run_cli, *EDGES, "--control-image", "large.png", "--hires", "2x", "--hires-strength", "0.5"
    )
    theirs = draw_by_hand(
        here, StableDiffusionControlNetImg2ImgPipeline, image=small, control_image=large,
        strength=0.5, controlnet_conditioning_scale=1.0,
    )  # fmt: skip
    assert np.array_equal(ours, theirs)


def test_the_part_of_the_image_that_is_drawn_is_guided(run_cli: RunCli, here: Path) -> None:
    Image.fromarray(picture(7)).save(here / "in.png")
    mask = np.zeros((64, 64), np.uint8)
    mask[24:40, 24:40] = 255
    Image.fromarray(mask).save(here / "mask.png")
    inpaint = ("--image", "in.png", "--mask", "mask.png", "--inpaint-area", "mask",
               "--inpaint-padding", "8", "--strength", "1", "--steps", "4")  # fmt: skip
    whole = draw(run_cli, *inpaint, *EDGES, "--control-image", "a.png")
    # What lies outside of the area that is drawn does not matter.
    outside = np.array(Image.open(here / "a.png"))
    outside[:12], outside[-12:] = 0, 255
    Image.fromarray(outside).save(here / "outside.png")
    assert np.array_equal(whole, draw(run_cli, *inpaint, *EDGES, "--control-image", "outside.png"))
    assert not np.array_equal(whole, draw(run_cli, *inpaint))
    assert not np.array_equal(whole, draw(run_cli, *inpaint, *EDGES, "--control-image", "b.png"))


@pytest.fixture(scope="module")
def bad_models(made: Path, unet: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files and folders that cannot be used, by what is wrong with them."""
    here = tmp_path_factory.mktemp("bad")
    good = load_file(made / "edges.safetensors")
    write_xl_model(here / "xl")
    xl = UNet2DConditionModel.from_pretrained(here / "xl" / "unet")
    for name, network in (
        ("xl", make_controlnet(xl)),
        ("gray", make_controlnet(unet, conditioning_channels=1)),
        ("cells", make_controlnet(unet, conditioning_embedding_out_channels=(16, 32, 96))),
        ("deep", make_controlnet(unet, layers_per_block=2)),
    ):
        write_controlnet(network, here / f"{name}.safetensors", "diffusers")
    wrong = {
        "lacks": {k: v for k, v in good.items() if "middle_block_out" not in k},
        "extra": good | {"control_model.more.weight": torch.ones(2)},
        "union": good | {"control_model.task_embedding": torch.ones(6, 2)},
        "wide": {k: torch.ones(v.shape[0], 2048) if "attn2.to_k" in k else v
                 for k, v in good.items()},
    }  # fmt: skip
    wrong["layer"] = good | {"control_model.time_embed.0.weight": torch.ones(3, 64)}
    wrong["scalar"] = {"controlnet_cond_embedding.conv_in.weight": torch.ones(())}
    for name, tensors in wrong.items():
        save_file(tensors, here / f"{name}.safetensors")
    (here / "cut.safetensors").write_bytes((made / "edges.safetensors").read_bytes()[:-100])
    (here / "evil.pth").write_bytes(pickle.dumps({"a": 1}))
    names = ("xl", "gray", "cells", "deep", *wrong, "cut")
    return {name: here / f"{name}.safetensors" for name in names} | {
        "pickle": here / "evil.pth",
        "model": EMBEDDED_FOLDER,
        "unet": EMBEDDED_FOLDER / "unet",
        "lora": EMBEDDED_LORAS / "flag.safetensors",
        "missing": here / "missing",
    }


@pytest.mark.parametrize(
    ("problem", "code", "words"),
    [
        ("xl", 3, ["does not fit embedded", "text embeddings of width 40", "has 128"]),
        ("gray", 3, ["takes images of 1 channels"]),
        ("cells", 3, ["in cells of 4 pixels"]),
        ("deep", 3, ["its outputs have", "and the UNet needs"]),
        ("lacks", 7, ["lacks middle_block_out.0.bias"]),
        ("extra", 3, ["of no part of a ControlNet: more.weight"]),
        ("union", 3, ["a ControlNet Union"]),
        ("wide", 3, ["width 2048 (Stable Diffusion XL), and this model has 128"]),
        ("layer", 3, ["time_embedding.linear_1.weight has the shape 3x64, and the UNet's"]),
        ("scalar", 3, ["does not fit embedded"]),
        ("cut", 7, ["cut.safetensors", "but its header describes"]),
        ("pickle", 6, ["is a pickle", "sdcli models convert"]),
        ("model", 3, ["is a whole model, not a ControlNet", "use it with --model"]),
        ("unet", 3, ['of the class "UNet2DConditionModel", not a ControlNet']),
        ("lora", 3, ["is a LoRA, not a ControlNet", "use it with --lora"]),
        ("missing", 3, ["no ControlNet at"]),
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
    path = bad_models[problem]
    options = ("--controlnet", str(path), "--control-image", "a.png", "-o", "x.png")
    ran = run_cli("generate", "a cat", *QUICK, *options)
    assert ran.code == code, ran.stderr
    assert all(word in ran.stderr for word in words), ran.stderr
    assert "controlnet: " in ran.stderr
    assert not (here / "x.png").exists()


def test_a_controlnet_is_named_where_it_does_not_belong(run_cli: RunCli, here: Path) -> None:
    for option in ("--lora", "--model"):
        ran = run_cli("generate", "a cat", *QUICK, option, "edges.safetensors", "-o", "x.png")
        assert ran.code == 3
        assert "is a ControlNet, not a" in ran.stderr
        assert "use it with --controlnet" in ran.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--controlnet", "edges"], "there is 1 ControlNet and no images"),
        (["--control-image", "a.png"], "control_image: it has no effect without --controlnet"),
        (["--control-preprocess", "canny"], "control_preprocess: it has no effect without"),
        (["--controlnet", "edges", "--controlnet", "depth.safetensors", "--control-image",
          "a.png"], "there are 2 ControlNets and 1 image"),
        (["--controlnet", "edges", "--control-image", "gone.png"], "no file at gone.png"),
        (["--controlnet", "edges", "--control-image", "a.png:1:0.5:0.5"], "does not lie between"),
        (["--controlnet", "edges", "--control-image", "a.png:1:0:2"], "does not lie between"),
        (["--controlnet", "edges", "--control-image", "a.png:101"], "has a scale that is not"),
        (["--controlnet", "edges", "--control-image", ":1"], "does not name an image"),
        (["--controlnet", "edges", "--control-image", "a.png", "--control-preprocess", "hed"],
         "'hed' is not one of none, canny"),
        (["--controlnet", "edges", "--control-image", "a.png", "--control-preprocess", "canny",
          "--control-preprocess", "canny"], "2 are given for 1 control images"),
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
    line = {"prompt": "a cat", "controlnet": "someone/canny", "control_image": "a.png"}
    (here / "rows.jsonl").write_text(json.dumps(line))
    dry = run_cli("batch", "rows.jsonl", *QUICK, "-o", "out", "--dry-run", "--json")
    assert dry.code == 0, dry.stderr
    assert dry.document["images"] == 1
    offline = run_cli("batch", "rows.jsonl", *QUICK, "-o", "out", "--offline")
    assert "ControlNet someone/canny is not in the local cache" in offline.stderr


def test_a_file_says_what_it_is(run_cli: RunCli, here: Path) -> None:
    for name, layout in (("edges", "original"), ("depth", "diffusers")):
        ran = run_cli("inspect", f"{name}.safetensors", "--json")
        assert (ran.code, ran.document["kind"]) == (0, "controlnet")
        assert ran.document["addon"] == {
            "base": None, "text_width": 128, "image_channels": 3, "layout": layout,
        }  # fmt: skip
        assert not ran.document["unused"]


def test_a_preprocessor_whose_library_is_missing_is_refused(
    run_cli: RunCli, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if it were not installed.
    monkeypatch.setitem(sys.modules, "cv2", None)
    control = (*EDGES, "--control-image", "a.png", "--control-preprocess", "canny")
    ran = run_cli("generate", "a cat", *QUICK, *control, "-o", "x.png")
    assert ran.code == 2
    assert "pip install opencv-python-headless" in ran.stderr


def test_a_resumed_run_is_guided_as_before(run_cli: RunCli, here: Path) -> None:
    saved = ("--steps", "4", "--save-latents", "all")
    whole = draw(run_cli, *EDGES, "--control-image", "a.png:0.8:0:0.8", *saved)
    resumed = ("--from-step", "2", "-o", "resumed.png")
    ran = run_cli("latents", "resume", "drawn.latents.safetensors", *resumed)
    assert ran.code == 0, ran.stderr
    assert np.array_equal(pixels_of(here / "resumed.png"), whole)
