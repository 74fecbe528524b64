"""Textual inversion through the command line: equal to Diffusers, records, batches, refusals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline
from PIL import Image

from sdcli.checkpoints.file_hashes import sha256
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from tests.conftest import RunCli
from tests.embeddings import SINGLE_FORMATS, alias, vectors, write_evil, write_single, write_xl
from tests.image_files import pixels_of, record_of
from tests.xl_models import write_xl_model

TRAILING = "ddim;timestep_spacing=trailing"
QUICK = ("--size", "64x64", "--steps", "2", "-s", TRAILING, "--device", "cpu", "--seed", "5")


def load_plain(cls: Any = StableDiffusionPipeline, folder: Path = EMBEDDED_FOLDER) -> Any:
    """A pipeline as a user of Diffusers loads it."""
    pipeline = cls.from_pretrained(folder, dtype=torch.float32)
    options = {} if folder == EMBEDDED_FOLDER else _XL_OPTIONS
    pipeline.scheduler = DDIMScheduler.from_pretrained(
        folder, subfolder="scheduler", timestep_spacing="trailing", **options
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


_XL_OPTIONS = {"clip_sample": False, "set_alpha_to_one": False}


def by_hand(pipeline: Any, prompt: str, negative: str | None = None, guidance: float = 3.0) -> Any:
    """The image of Diffusers."""
    image = pipeline(
        prompt,
        negative_prompt=negative,
        num_inference_steps=2,
        guidance_scale=guidance,
        width=64,
        height=64,
        generator=torch.Generator().manual_seed(5),
    ).images[0]
    return np.asarray(image)


def draw(run_cli: RunCli, prompt: str, *more: str, code: int = 0) -> list[Path]:
    ran = run_cli("generate", prompt, *QUICK, *more)
    assert ran.code == code, ran.stderr
    return ran.paths


@pytest.mark.sample(2)
@pytest.mark.parametrize("kind", SINGLE_FORMATS)
def test_an_image_is_that_of_diffusers_to_the_bit(
    run_cli: RunCli, tmp_path: Path, kind: str
) -> None:
    tensor = vectors(3)
    file = write_single(tmp_path / "toy", tensor, kind)
    prompt = "a red toy, and a cat"
    [path] = draw(run_cli, prompt, "--embedding", file.name, "-n", "toy", "-o", "a.png")
    plain = load_plain()
    stored = tensor.half().float() if kind == "half" else tensor
    plain.load_textual_inversion({"<toy>": stored})
    expected = by_hand(plain, "a red <toy>, and a cat", "<toy>")
    assert np.array_equal(pixels_of(path), expected)
    [without] = draw(run_cli, prompt, "-n", "toy", "-o", "b.png")
    assert not np.array_equal(pixels_of(without), expected)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_stable_diffusion_xl_is_that_of_diffusers_to_the_bit(
    run_cli: RunCli, tmp_path: Path, suffix: str
) -> None:
    folder = write_xl_model(tmp_path / "xl")
    first, second = vectors(2, 16), vectors(2, 24, seed=1)
    file = write_xl(tmp_path / f"toy{suffix}", first, second)
    model = ("-m", str(folder), "--dtype", "float32", "-g", "5")
    named = ("--embedding", f"{file.name}:my toy")
    [path] = draw(run_cli, "a my toy, a cat", *model, *named, "-n", "bad MY TOY", "-o", "a.png")
    plain = load_plain(StableDiffusionXLPipeline, folder)
    for tensor, number in ((first, ""), (second, "_2")):
        plain.load_textual_inversion(
            {"<toy>": tensor},
            text_encoder=getattr(plain, f"text_encoder{number}"),
            tokenizer=getattr(plain, f"tokenizer{number}"),
        )
    expected = by_hand(plain, "a <toy>, a cat", "bad <toy>", 5.0)
    assert np.array_equal(pixels_of(path), expected)


def test_an_alias_of_a_word_is_the_word(run_cli: RunCli, tmp_path: Path) -> None:
    write_single(tmp_path / "kitty", alias("cat"))
    write_single(tmp_path / "scene", alias("cat", "and"))
    named = ("--embedding", "kitty.safetensors", "--embedding", "scene.safetensors")
    [expected] = draw(run_cli, "a cat and a (cat:1.3)", "-o", "a.png")
    for number, prompt in enumerate(("a kitty and a (kitty:1.3)", "a Scene a (kitty:1.3)")):
        [path] = draw(run_cli, prompt, *named[: 2 + 2 * number], "-o", f"b{number}.png")
        assert np.array_equal(pixels_of(path), pixels_of(expected)), prompt
    plain = ("--prompt-syntax", "plain")
    [expected] = draw(run_cli, "a cat (cat)", *plain, "-o", "c.png")
    [path] = draw(run_cli, "a kitty (kitty)", *plain, *named[:2], "-o", "d.png")
    assert np.array_equal(pixels_of(path), pixels_of(expected))


def test_rows_of_one_batch_have_their_own_embeddings(run_cli: RunCli, tmp_path: Path) -> None:
    folder = tmp_path / "prompts"
    folder.mkdir()
    for name, seed in (("a", 1), ("b", 2)):
        write_single(folder / f"{name}dog", vectors(2, seed=seed))
    # Paths are relative to the prompt file.
    rows = ["adog.safetensors:dog", "none", "bdog.safetensors:dog"]
    lines = [json.dumps({"prompt": "a dog", "embedding": row}) for row in rows]
    (folder / "rows.jsonl").write_text("\n".join(lines))
    for size in ("1", "3"):
        out = ("-o", f"out{size}", "--batch-size", size)
        ran = run_cli("batch", "prompts/rows.jsonl", *QUICK, *out)
        assert ran.code == 0, ran.stderr
        assert record_of(sorted(ran.paths)[0])["batch_size"] == int(size)
        for row, path in zip(rows, sorted(ran.paths), strict=True):
            options = () if row == "none" else ("--embedding", f"prompts/{row}")
            [alone] = draw(run_cli, "a dog", *options, "-o", "x.png", "--force")
            difference = np.abs(pixels_of(path).astype(int) - pixels_of(alone))
            assert difference.max() <= (0 if size == "1" else 1), row


def test_a_folder_gives_the_words_of_its_files(run_cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "all" / "sub").mkdir(parents=True)
    write_single(tmp_path / "all" / "sub" / "EasyNegative", vectors(2), "A1111")
    write_single(tmp_path / "all" / "other", vectors(2, 768))
    folder = ("--embedding-dir", "all")
    ran = run_cli(
        "generate", "an other cat", *QUICK, *folder, "-n", "(easynegative:0.5)", "-o", "a.png"
    )
    assert ran.code == 0
    assert "'other' is drawn as words: other.safetensors is an embedding for another" in ran.stderr
    named = ("--embedding", "all/sub/EasyNegative.pt")
    [alone] = draw(run_cli, "an other cat", *named, "-n", "(easynegative:0.5)", "-o", "b.png")
    assert np.array_equal(pixels_of(tmp_path / "a.png"), pixels_of(alone))
    # Without its word in a prompt, a file changes nothing and is not recorded.
    [path] = draw(run_cli, "a cat", *folder, "-o", "c.png")
    assert record_of(path)["request"]["embedding"] is None


def test_an_unused_embedding_is_told(run_cli: RunCli, tmp_path: Path) -> None:
    write_single(tmp_path / "toy", vectors(1))
    ran = run_cli(
        "generate", "a toyota cat", *QUICK, "--embedding", "toy.safetensors", "-o", "a.png"
    )
    assert ran.code == 0
    said = "toy.safetensors is not used: its word 'toy' is not in the prompt 'a toyota cat'"
    assert said in ran.stderr
    [plain] = draw(run_cli, "a toyota cat", "-o", "b.png")
    assert np.array_equal(pixels_of(tmp_path / "a.png"), pixels_of(plain))
    assert record_of(tmp_path / "a.png")["job"] == record_of(plain)["job"]


def test_records_name_the_file_and_a_replay_finds_it(run_cli: RunCli, tmp_path: Path) -> None:
    file = write_single(tmp_path / "toy", vectors(2))
    [path] = draw(run_cli, "a dog", "--embedding", "toy.safetensors:dog", "-o", "a.png")
    record, digest = record_of(path), sha256(file)
    assert record["request"]["embedding"] == "toy.safetensors:dog"
    [entry] = record["embeddings"]
    assert entry == {"word": "dog", "name": file.name, "sha256": digest, "vectors": 2}
    assert f'TI hashes: "dog: {digest[:12]}"' in Image.open(path).text["parameters"]
    assert "identical" in run_cli("replay", "a.png", "--check").stdout
    moved = tmp_path / "moved"
    moved.mkdir()
    shutil.move(path, moved)
    shutil.move(file, moved / "renamed.safetensors")
    assert "identical" in run_cli("replay", "moved/a.png", "--check").stdout
    shutil.move(moved / "renamed.safetensors", tmp_path / "gone.txt")
    gone = run_cli("replay", "moved/a.png", "--check")
    assert gone.code == 3
    assert f"the record's embedding 'toy.safetensors' (SHA-256 {digest})" in gone.stderr
    without = run_cli("replay", "moved/a.png", "--check", "--set", "embedding=none")
    assert (without.code, "identical" in without.stdout) == (10, False)


def test_the_job_is_told_by_content_and_word_not_by_path(run_cli: RunCli, tmp_path: Path) -> None:
    file = write_single(tmp_path / "toy", vectors(2))
    shutil.copy(file, tmp_path / "copy.safetensors")
    write_single(tmp_path / "new", vectors(2, seed=1))
    ids = [
        record_of(
            draw(run_cli, "a dog", "--embedding", f"{name}.safetensors:dog", "-o", f"{name}.png")[0]
        )["job"]
        for name in ("toy", "copy", "new")
    ]
    assert ids[0] == ids[1] != ids[2]


def test_a_grid_has_a_column_without(run_cli: RunCli, tmp_path: Path) -> None:
    write_single(tmp_path / "toy", vectors(2))
    paths = draw(
        run_cli, "a toy", "--embedding", "none,toy.safetensors", "--steps", "1,2",
        "--grid", "embedding,steps", "-o", "out",
    )  # fmt: skip
    names = " ".join(path.name for path in paths[:-1])
    assert (names.count("embedding-none"), names.count("embedding-toy")) == (2, 2), names


def test_chunks_count_vectors_and_keep_them_together(run_cli: RunCli, tmp_path: Path) -> None:
    write_single(tmp_path / "toy", vectors(8))
    named = ("--embedding", "toy.safetensors", "--json")
    [first, second] = chunks_of(run_cli, f"{'cat ' * 70}toy", *named)
    assert (first["tokens"], second["tokens"]) == (70, 8)
    [word] = second["words"]
    assert (word["vectors"], word["ids"], word["pieces"]) == (8, [], [])
    assert [len(chunk["words"]) for chunk in chunks_of(run_cli, "toy toy", *named)] == [2]
    table = run_cli("tokens", "a toy", "--embedding", "toy.safetensors").stdout
    assert "8 vectors" in table
    draw(run_cli, f"{'cat ' * 70}toy", *named[:2], "-o", "a.png")
    cut = run_cli(
        "generate",
        f"{'cat ' * 70}toy",
        *QUICK,
        *named[:2],
        "--prompt-syntax",
        "plain",
        "-o",
        "b.png",
    )
    assert "CLIP reads 77 tokens, this was cut off: 'toy'" in cut.stderr


def chunks_of(run_cli: RunCli, prompt: str, *more: str) -> Any:
    ran = run_cli("tokens", prompt, *more)
    assert ran.code == 0, ran.stderr
    [part] = json.loads(ran.stdout)["prompt"]["parts"]
    return part["chunks"]


def test_misfits_say_why(run_cli: RunCli, tmp_path: Path) -> None:
    folder = write_xl_model(tmp_path / "xl")
    write_single(tmp_path / "wide", vectors(2, 768))
    write_single(tmp_path / "fits", vectors(2))
    write_single(tmp_path / "none", vectors(0))
    write_single(tmp_path / "long", vectors(76))
    write_single(tmp_path / "nan", vectors(2) * torch.nan)
    write_xl(tmp_path / "xl.safetensors", vectors(2, 16), vectors(2, 24))
    write_xl(tmp_path / "unequal.safetensors", vectors(2, 16), vectors(3, 24))
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "fits.safetensors").read_bytes()[:300])
    shutil.copy(
        EMBEDDED_FOLDER / "vae_tiny" / "diffusion_pytorch_model.safetensors", "vae.safetensors"
    )
    marker = tmp_path / "marker"
    write_evil(tmp_path / "evil.pt", marker)
    cases = [
        ("wide", 3, "its vectors are 768 wide (Stable Diffusion 1), and embedded takes 128"),
        ("xl", 3, "it is for the two text encoders of Stable Diffusion XL, and embedded has one"),
        ("none", 3, "none.safetensors has no vectors"),
        ("long", 3, "long.safetensors has 76 vectors, but the text encoder reads 75"),
        ("unequal", 3, "has 2 vectors for one text encoder and 3 for the other"),
        ("vae", 3, "not a textual inversion embedding"),
        ("nan", 7, "nan.safetensors has values that are not finite"),
        ("cut", 7, "cut.safetensors"),
        ("evil.pt", 6, "can run code; nothing was run"),
        ("gone", 3, "no embedding at 'gone.safetensors'"),
    ]  # fmt: skip
    for name, code, said in cases:
        file = name if "." in name else f"{name}.safetensors"
        ran = run_cli("generate", "a toy", *QUICK, "--embedding", f"{file}:toy", "-o", "x.png")
        assert (ran.code, said in ran.stderr) == (code, True), (name, ran.code, ran.stderr)
        assert "embedding: " in ran.stderr
    assert not marker.exists()
    ran = run_cli(
        "generate",
        "a fits",
        *QUICK,
        "-m",
        str(folder),
        "--embedding",
        "fits.safetensors",
        "-o",
        "x.png",
    )
    assert (ran.code, "which needs clip_l and clip_g" in ran.stderr) == (3, True), ran.stderr


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("a.pt:", "has no word after the colon"),
        (":toy", "does not name a file"),
        ("", "is empty"),
        ("a.pt:toy;b.pt:TOY", "is the word of two files"),
    ],
)
def test_texts_that_name_no_embedding(run_cli: RunCli, written: str, said: str) -> None:
    ran = run_cli("generate", "a toy", *QUICK, "--embedding", written)
    assert (ran.code, said in ran.stderr) == (2, True), ran.stderr


def test_options_that_need_words_refuse_embeddings(run_cli: RunCli, tmp_path: Path) -> None:
    write_single(tmp_path / "toy", vectors(2))
    named = ("--embedding", "toy.safetensors")
    ran = run_cli("generate", "a toy", *QUICK, *named, "--trace", "t", "-o", "a.png")
    assert ran.code == 2
    assert "the embedding toy has the places of 2 tokens" in ran.stderr
    draw(run_cli, "a cat", *named, "-n", "toy", "--trace", "u", "-o", "b.png")


@pytest.mark.parametrize("kind", SINGLE_FORMATS)
def test_inspect_names_each_format(run_cli: RunCli, tmp_path: Path, kind: str) -> None:
    file = write_single(tmp_path / "toy", vectors(3), kind)
    document = json.loads(run_cli("inspect", file.name, "--json").stdout)
    assert document["kind"] == "embedding", document
    assert (document["addon"]["vectors"], document["addon"]["widths"]) == (3, [128])
