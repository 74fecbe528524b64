"""LoRAs through the command line: equal to changes by hand, records, replay, batches, refusals."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline
from PIL import Image
from safetensors.torch import load_file

from sdcli.checkpoints.adapters.embedded_addons import EMBEDDED_LORAS
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from tests.conftest import RunCli
from tests.image_files import pixels_of, record_of
from tests.loras import WrittenLora, change_by_hand, write_kohya, write_named
from tests.xl_models import write_xl_model

TRAILING = "ddim;timestep_spacing=trailing"
QUICK = ("--size", "64x64", "--steps", "2", "-s", TRAILING, "--device", "cpu", "--seed", "5")


@pytest.fixture(scope="module")
def pipeline() -> Any:
    return _load()


def _load() -> Any:
    loaded = StableDiffusionPipeline.from_pretrained(EMBEDDED_FOLDER, dtype=torch.float32)
    loaded.scheduler = DDIMScheduler.from_pretrained(
        EMBEDDED_FOLDER, subfolder="scheduler", timestep_spacing="trailing"
    )
    loaded.set_progress_bar_config(disable=True)
    return loaded


def draw(run_cli: RunCli, *more: str, code: int = 0) -> list[Path]:
    ran = run_cli("generate", "a cat", *QUICK, *more)
    assert ran.code == code, ran.stderr
    return ran.paths


@pytest.mark.parametrize(("kind", "weight"), [("kohya", 0.2), ("DoRA", 0.3), ("LoHa", 1.0)])
def test_an_image_is_that_of_diffusers_with_weights_changed_by_hand(
    run_cli: RunCli, pipeline: Any, tmp_path: Path, kind: str, weight: float
) -> None:
    written = write_kohya(pipeline, kind)
    written.save(tmp_path / "a.safetensors")
    draw(run_cli, "--lora", f"a.safetensors:{weight}", "-o", "a.png")
    changed = _load()
    change_by_hand(changed, written.changes, weight)
    generator = torch.Generator().manual_seed(5)
    image = changed(
        "a cat", num_inference_steps=2, guidance_scale=3.0, width=64, height=64, generator=generator
    ).images[0]
    difference = np.abs(pixels_of(tmp_path / "a.png") - np.asarray(image).astype(int))
    # The sums differ in the last bit of float32.
    assert difference.max() <= 1
    draw(run_cli, "-o", "plain.png")
    plain = pixels_of(tmp_path / "plain.png").astype(int)
    assert np.abs(plain - np.asarray(image)).max() > 10


def test_no_weight_is_no_lora_and_nothing_is_left_behind(
    run_cli: RunCli, pipeline: Any, tmp_path: Path
) -> None:
    write_kohya(pipeline).save(tmp_path / "a.safetensors")
    swept = draw(run_cli, "--lora", "none,a.safetensors:0..1:0.5,none", "-o", "swept")
    images = [pixels_of(path) for path in swept]
    assert len(images) == 5
    assert np.array_equal(images[0], images[1])
    assert np.array_equal(images[0], images[4])
    assert not np.array_equal(images[0], images[2])
    [alone] = draw(run_cli, "--lora", "a.safetensors:0.5", "-o", "alone.png")
    assert np.array_equal(images[2], pixels_of(alone))
    [plain] = draw(run_cli, "-o", "plain.png")
    assert np.array_equal(images[0], pixels_of(plain))
    assert record_of(swept[0])["job"] == record_of(plain)["job"]


def test_the_order_does_not_matter(run_cli: RunCli, pipeline: Any, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 2)):
        write_kohya(pipeline, "kohya", seed).save(tmp_path / f"{name}.safetensors")
    a, b = "a.safetensors:0.4", "b.safetensors:-0.3"
    [first] = draw(run_cli, "--lora", a, "--lora", b, "-o", "ab.png")
    [second] = draw(run_cli, "--lora", b, "--lora", a, "-o", "ba.png")
    assert np.array_equal(pixels_of(first), pixels_of(second))
    assert record_of(first)["job"] == record_of(second)["job"]


def test_rows_of_a_batch_have_their_own_loras(
    run_cli: RunCli, pipeline: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "prompts"
    folder.mkdir()
    for name, seed in (("a", 1), ("b", 2)):
        write_kohya(pipeline, "kohya", seed).save(folder / f"{name}.safetensors")
    # Paths are relative to the prompt file.
    rows = ["a.safetensors:0.3", "none", "b.safetensors:0.3", "a.safetensors:0.3;b.safetensors:0.2"]
    lines = [json.dumps({"prompt": "a cat", "lora": lora}) for lora in rows]
    (folder / "rows.jsonl").write_text("\n".join(lines))
    ran = run_cli("batch", "prompts/rows.jsonl", *QUICK, "-o", "prompts/out", "--batch-size", "1")
    assert ran.code == 0, ran.stderr
    together = [pixels_of(path) for path in sorted(ran.paths)]
    for row, expected in zip(rows, together, strict=True):
        options = [part for word in row.split(";") for part in ("--lora", f"prompts/{word}")]
        alone = draw(run_cli, *(options if row != "none" else ()), "-o", "prompts/x.png", "--force")
        assert np.array_equal(expected, pixels_of(alone[0])), row


def test_a_tag_in_the_prompt_is_the_option(run_cli: RunCli, pipeline: Any, tmp_path: Path) -> None:
    # In the folder of the LoRA, where a replay finds it.
    folder = tmp_path / "loras" / "sub"
    folder.mkdir(parents=True)
    write_kohya(pipeline).save(folder / "style.safetensors")
    ran = run_cli(
        "generate",
        "a cat <lora:style:0.3>",
        *QUICK,
        "--lora-dir",
        "loras",
        "-o",
        "loras/sub/tag.png",
    )
    assert (ran.code, ran.stderr) == (0, ""), ran.stderr
    draw(run_cli, "--lora", "loras/sub/style.safetensors:0.3", "-o", "loras/sub/flag.png")
    record = record_of(folder / "tag.png")
    assert record["request"]["prompt"] == "a cat"
    assert record["request"]["lora"] == "style.safetensors:0.3"
    assert np.array_equal(pixels_of(folder / "tag.png"), pixels_of(folder / "flag.png"))
    parameters = Image.open(folder / "tag.png").text["parameters"]
    [lora] = record["loras"]
    assert parameters.startswith("a cat <lora:style:0.3>\nSteps: 2,")
    assert f'Lora hashes: "style: {lora["a1111_hash"]}"' in parameters


def test_a_replay_finds_the_file_by_hash_or_name(
    run_cli: RunCli, pipeline: Any, tmp_path: Path
) -> None:
    write_kohya(pipeline).save(tmp_path / "a.safetensors")
    draw(run_cli, "--lora", "a.safetensors:0.3:0.2", "-o", "a.png")
    assert "identical" in run_cli("replay", "a.png", "--check").stdout
    (tmp_path / "moved").mkdir()
    shutil.move(tmp_path / "a.png", tmp_path / "moved")
    shutil.move(tmp_path / "a.safetensors", tmp_path / "moved" / "renamed.safetensors")
    assert "identical" in run_cli("replay", "moved/a.png", "--check").stdout
    shutil.move(tmp_path / "moved" / "renamed.safetensors", tmp_path / "moved" / "a.txt")
    gone = run_cli("replay", "moved/a.png", "--check")
    assert gone.code == 3
    assert "the record's LoRA 'a.safetensors' (SHA-256" in gone.stderr
    without = run_cli("replay", "moved/a.png", "--check", "--set", "lora=none")
    assert (without.code, "identical" in without.stdout) == (10, False)
    shutil.move(tmp_path / "moved" / "a.txt", tmp_path / "moved" / "renamed.safetensors")


def test_a_grid_has_a_column_without(run_cli: RunCli, pipeline: Any, tmp_path: Path) -> None:
    write_kohya(pipeline).save(tmp_path / "a.safetensors")
    paths = draw(
        run_cli, "--lora", "none,a.safetensors:0.2", "--steps", "2,3", "--grid", "lora,steps",
        "-o", "out",
    )  # fmt: skip
    assert len(paths) == 5
    assert "grid" in paths[-1].name
    names = " ".join(path.name for path in paths[:-1])
    assert (names.count("lora-none"), names.count("lora-a-0.2")) == (2, 2), names


def test_stable_diffusion_xl(run_cli: RunCli, tmp_path: Path) -> None:
    folder = write_xl_model(tmp_path / "xl")
    plain = StableDiffusionXLPipeline.from_pretrained(folder, dtype=torch.float32)
    written = write_kohya(plain)
    written.save(tmp_path / "a.safetensors")
    more = ("-m", str(folder), "--dtype", "float32", "-g", "5")
    [path] = draw(run_cli, *more, "--lora", "a.safetensors:0.5", "-o", "a.png")
    [without] = draw(run_cli, *more, "-o", "plain.png")
    change_by_hand(plain, written.changes, 0.5)
    plain.scheduler = DDIMScheduler.from_pretrained(
        folder, subfolder="scheduler", timestep_spacing="trailing",
        clip_sample=False, set_alpha_to_one=False,
    )  # fmt: skip
    plain.set_progress_bar_config(disable=True)
    image = plain(
        "a cat", num_inference_steps=2, guidance_scale=5.0, width=64, height=64,
        generator=torch.Generator().manual_seed(5),
    ).images[0]  # fmt: skip
    theirs = np.asarray(image).astype(int)
    assert np.abs(pixels_of(path) - theirs).max() <= 1
    assert np.abs(pixels_of(without) - theirs).max() > 10


def test_the_embedded_lora_draws_a_flag(run_cli: RunCli, tmp_path: Path) -> None:
    ran = run_cli("generate", "a flag", "--lora", "embedded:flag", "--seed", "3", "-o", "a.png")
    assert (ran.code, ran.stderr) == (0, ""), ran.stderr
    image = pixels_of(tmp_path / "a.png").astype(int)
    stripes = [(31, 158, 143), (226, 72, 61)]
    shares = [(np.abs(image - color).max(-1) < 60).mean() for color in stripes]
    assert min(shares) > 0.03, shares
    assert record_of(tmp_path / "a.png")["request"]["lora"] == "embedded:flag:1"


def bad_files(folder: Path, pipeline: Any) -> dict[str, Path]:
    """Files that cannot be used, by what is wrong with them."""
    good = write_kohya(pipeline).save(folder / "good.safetensors")
    cut = folder / "cut.safetensors"
    cut.write_bytes(good.read_bytes()[:-100])
    nan = write_kohya(pipeline)
    next(iter(nan.tensors.values()))[0, 0] = float("nan")
    half = write_kohya(pipeline)
    half.tensors = {k: v for k, v in half.tensors.items() if "to_q.lora_up" not in k}
    key = next(k for k in half.tensors if k.endswith("lora_up.weight"))
    del half.tensors[key]
    loha, lokr = write_kohya(pipeline, "LoHa"), write_kohya(pipeline, "LoKr")
    del loha.tensors[next(k for k in loha.tensors if k.endswith("hada_w2_b"))]
    del lokr.tensors[next(k for k in lokr.tensors if k.endswith("lokr_w1"))]
    other = {f"transformer.{k}": v for k, v in write_named(pipeline, "bare").tensors.items()}
    wide = write_kohya(pipeline)
    for key, value in list(wide.tensors.items()):
        if "attn2_to_k.lora_down" in key:
            wide.tensors[key] = torch.randn(value.shape[0], 2048)
    (folder / "evil.pt").write_bytes(pickle.dumps({"a": 1}))
    (folder / "text.safetensors").write_text("<html>")
    return {
        "good": good,
        "cut": cut,
        "nan": nan.save(folder / "nan.safetensors"),
        "half": half.save(folder / "half.safetensors"),
        "half LoHa": loha.save(folder / "loha.safetensors"),
        "half LoKr": lokr.save(folder / "lokr.safetensors"),
        "unmatched": WrittenLora(tensors=other).save(folder / "unmatched.safetensors"),
        "foreign": wide.save(folder / "foreign.safetensors"),
        "pickle": folder / "evil.pt",
        "html": folder / "text.safetensors",
        "missing": folder / "missing.safetensors",
    }


@pytest.mark.sample(5)
@pytest.mark.parametrize(
    ("problem", "code", "words"),
    [
        ("cut", 7, ["cut.safetensors", "but its header describes"]),
        ("nan", 7, ["has values that are not finite"]),
        ("half", 7, ["has no counterpart"]),
        ("half LoHa", 7, ["has no counterpart (hada_w2_b)"]),
        ("half LoKr", 7, ["has no counterpart (lokr_w1 or lokr_w1_a)"]),
        ("unmatched", 3, ["changes nothing in embedded", "transformer."]),
        ("foreign", 3, ["text embeddings of width 2048 (Stable Diffusion XL)", "has 128"]),
        ("pickle", 6, ["is a pickle", "sdcli models convert"]),
        ("html", 7, ["HTML"]),
        ("missing", 3, ["no LoRA at", "missing.safetensors"]),
    ],
)
def test_files_that_cannot_be_used(
    run_cli: RunCli, pipeline: Any, tmp_path: Path, problem: str, code: int, words: Sequence[str]
) -> None:
    path = bad_files(tmp_path, pipeline)[problem]
    ran = run_cli("generate", "a cat", *QUICK, "--lora", str(path), "-o", "a.png")
    assert ran.code == code, ran.stderr
    assert all(word in ran.stderr for word in words), ran.stderr
    assert "Traceback" not in ran.stderr
    assert not (tmp_path / "a.png").exists()


def test_keys_that_are_not_used_are_named(run_cli: RunCli, pipeline: Any, tmp_path: Path) -> None:
    written = write_kohya(pipeline)
    used = len(written.tensors)
    written.tensors |= {
        "lora_unet_other_layer.lora_up.weight": torch.ones(2, 2),
        "extra": torch.ones(1),
    }
    written.save(tmp_path / "a.safetensors")
    ran = run_cli("generate", "a cat", *QUICK, "--lora", "a.safetensors:0.2", "-o", "a.png")
    assert ran.code == 0
    assert f"2 of its {used + 2} tensors belong to no layer of this model" in ran.stderr
    assert "lora_unet_other_layer.lora_up.weight" in ran.stderr


def test_a_lora_for_few_steps_brings_its_settings(
    run_cli: RunCli, pipeline: Any, tmp_path: Path
) -> None:
    write_kohya(pipeline).save(tmp_path / "lcm-lora.safetensors")
    ran = run_cli("generate", "a cat", "--size", "64x64", "--lora", "lcm-lora.safetensors:0.1",
                  "-o", "a.png")  # fmt: skip
    assert (
        "lcm-lora.safetensors is for few steps (LCM), so it uses LCM, 6 steps, guidance 1"
        in ran.stderr
    )
    request = record_of(tmp_path / "a.png")["request"]
    settings = [request[n] for n in ("scheduler", "num_inference_steps", "guidance_scale")]
    assert settings == ["LCM", 6, 1.0]
    ran = run_cli("generate", "a cat", *QUICK, "-g", "2", "--lora", "lcm-lora.safetensors:0.1",
                  "-o", "b.png")  # fmt: skip
    assert not ran.stderr
    assert record_of(tmp_path / "b.png")["request"]["guidance_scale"] == 2.0


def test_faults_in_a_prompt_file_are_located(run_cli: RunCli, tmp_path: Path) -> None:
    lines = ['{"prompt": "a cat", "lora": "gone.safetensors"}', '{"prompt": "a <lora:gone:1> cat"}',
             '{"prompt": "a cat", "lora": "a:x:"}']  # fmt: skip
    (tmp_path / "p.jsonl").write_text("\n".join(lines))
    ran = run_cli("batch", "p.jsonl", "-o", "out", "--dry-run")
    assert ran.code == 2
    for place in ("p.jsonl:1", "p.jsonl:2", "p.jsonl:3"):
        assert place in ran.stderr, ran.stderr


def test_the_shipped_file_says_what_it_is(run_cli: RunCli) -> None:
    path = EMBEDDED_LORAS / "flag.safetensors"
    ran = run_cli("inspect", str(path), "--json")
    addon = ran.document["addon"]
    assert (ran.document["kind"], addon["ranks"], addon["alphas"]) == ("lora", [16], [16.0])
    assert addon["layers"] == {"unet": 48}
    assert path.stat().st_size < 600_000
    assert all(t.dtype == torch.float16 for t in load_file(path).values())
