"""`sdcli attention` through the real main(), on the embedded model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file

from sdcli import GenerationRequest, generate
from sdcli.storage.images.codec import read_image_info
from tests.test_startup import HEAVY, HELP_FREE, probe

PROMPT = "a cat and a guitar on a blue background"
QUICK = ("--steps", "2", "--seed", "7", "--device", "cpu")


def test_a_sheet_is_written_and_the_shares_are_printed(run_cli):
    ran = run_cli("attention", PROMPT, *QUICK, "-o", "sheet.png")
    assert (ran.code, ran.stdout) == (0, "sheet.png\n")
    header, cat, guitar, ground, groups = ran.stderr.splitlines()
    assert header.split() == ["word", "share", "peak", "at"]
    assert [line.split()[0] for line in (cat, guitar, ground)] == ["cat", "guitar", "background"]
    assert groups.startswith("attention to the tokens: start ")
    with Image.open("sheet.png") as image:
        # The image and three maps, each of 256 pixels, side by side.
        assert image.width > 4 * 256 > image.height


def test_the_document_and_the_tensors_agree(run_cli):
    raw = ("--raw", "maps.safetensors", "-o", "sheet.png", "--json")
    ran = run_cli("attention", PROMPT, *QUICK, *raw, "--words", "guitar,blue background")
    document = ran.document
    assert document["schema"] == "sdcli/attention/1"
    assert document["paths"] == ["sheet.png", "maps.safetensors"]
    assert sum(document["shares"].values()) == pytest.approx(1, abs=1e-4)
    assert set(document["layers"].values()) == {2}
    [guitar, ground] = document["words"]
    assert (guitar["index"], guitar["text"], guitar["tokens"]) == (4, "guitar", [5])
    assert PROMPT[ground["start"] : ground["end"]] == ground["text"] == "blue background"
    tensors = load_file("maps.safetensors")
    assert set(tensors) == {"word/4/guitar", "word/7/blue background"}
    for word in document["words"]:
        map_ = tensors[f"word/{word['index']}/{word['text']}"]
        assert (map_.dtype, map_.shape) == (np.float32, (8, 8))
        assert map_.mean() == pytest.approx(word["share"], abs=1e-5)
    with safe_open("maps.safetensors", "numpy") as file:
        request = json.loads(file.metadata()["request"])
    assert GenerationRequest.from_dict(request).prompt == PROMPT
    [plain] = generate(GenerationRequest.from_dict(request))
    assert document["pixels_sha256"] == _sha256(plain.pixels)


def size_of(path):
    with Image.open(path) as image:
        return image.size


def _sha256(pixels):
    from sdcli.storage.metadata.record import pixels_sha256

    return pixels_sha256(pixels)


def test_an_image_is_measured_from_its_record(run_cli):
    run_cli("generate", PROMPT, *QUICK, "-o", "cat.png")
    ran = run_cli("attention", "cat.png", "--json", "-o", "sheet.png")
    assert (ran.code, ran.stderr) == (0, "")
    assert ran.document["prompt"] == PROMPT
    assert ran.document["pixels_sha256"] == read_image_info("cat.png")["pixels_sha256"]
    direct = run_cli("attention", PROMPT, *QUICK, "--json", "-o", "other.png").document
    assert ran.document["words"] == direct["words"]
    changed = run_cli("attention", "cat.png", "--steps", "1", "--json", "-o", "one.png")
    assert set(changed.document["layers"].values()) == {1}
    assert changed.stderr == ""


def test_options_change_the_record_as_they_change_a_prompt(run_cli):
    Image.new("L", (128, 128), 255).save("mask.png")
    run_cli("generate", PROMPT, *QUICK, "-o", "first.png")
    area = ("--image", "first.png", "--mask", "mask.png", "--keep-unmasked")
    run_cli("generate", PROMPT, *QUICK, *area, "-o", "cat.png")
    changes = ("--no-keep-unmasked", "--lora", "embedded:flag:0.5")
    raw = ("--raw", "maps.safetensors", "-o", "sheet.png")
    ran = run_cli("attention", "cat.png", *changes, *raw)
    assert (ran.code, ran.stderr.count("warning")) == (0, 0)
    with safe_open("maps.safetensors", "numpy") as file:
        request = GenerationRequest.from_dict(json.loads(file.metadata()["request"]))
    assert request.keep_unmasked is False
    assert request.lora == "embedded:flag:0.5"


@pytest.mark.parametrize("several", ["--guidance=2,3", "--seed=1..2", "--count=2"])
def test_an_image_is_measured_once(run_cli, several):
    Image.new("RGB", (8, 8)).save("cat.png")
    ran = run_cli("attention", "cat.png", several)
    assert (ran.code, "attention measures one image" in ran.stderr) == (2, True)


def test_a_record_that_does_not_reproduce_the_image_is_said(run_cli):
    run_cli("generate", PROMPT, *QUICK, "-o", "cat.png")
    from PIL.PngImagePlugin import PngInfo

    with Image.open("cat.png") as image:
        text = image.text["sdcli"]
        info = PngInfo()
        info.add_text("sdcli", text)
        Image.new("RGB", image.size).save("black.png", pnginfo=info)
    ran = run_cli("attention", "black.png", "-o", "sheet.png", "-q")
    assert ran.code == 0
    ran = run_cli("attention", "black.png", "-o", "sheet2.png")
    assert "the regenerated image is different" in ran.stderr


def test_asking_for_a_describing_word_is_answered_with_causal(run_cli):
    ran = run_cli("attention", PROMPT, *QUICK, "--words", "cat,blue", "-o", "sheet.png")
    assert "blue: the attention of a color word does not show" in ran.stderr
    assert "--causal" in ran.stderr
    causal = ("--causal", "--words", "blue", "--swap", "blue=red", "--json")
    ran = run_cli("attention", PROMPT, *QUICK, *causal, "-o", "causal.png")
    assert ran.stderr == ""
    document = ran.document
    assert (document["causal"], document["shares"], document["layers"]) == (True, None, None)
    [blue] = document["words"]
    assert (blue["text"], blue["replacements"]) == ("blue", ["red"])
    assert 0 < blue["share"] < 2


def test_words_that_are_replaced_are_printed(run_cli):
    ran = run_cli(
        "attention", "a red star", *QUICK, "--causal", "--swap", "red=blue", "-o", "c.png"
    )
    header, row = ran.stderr.splitlines()
    assert " ".join(header.split()) == "word replaced by moves the prediction by peak at"
    assert row.split()[:2] == ["red", "blue"]


def test_every_word_has_its_own_image(run_cli):
    ran = run_cli("attention", PROMPT, *QUICK, "--separate", "--style", "spot", "-o", "words")
    names = [path.name for path in ran.paths]
    assert len(names) == 3
    assert all("attention-a-cat-and-a-guitar" in name for name in names)
    assert {size_of(path) for path in ran.paths} == {(256, 256)}


def test_an_animation_has_a_frame_for_each_step(run_cli):
    ran = run_cli("attention", PROMPT, "--steps", "3", "--seed", "7", "--animate", "-o", "a.webp")
    assert ran.code == 0
    with Image.open("a.webp") as image:
        assert image.n_frames == 3
    two = ("--steps", "3", "--at-steps", "1..2", "-o", "b.gif")
    ran = run_cli("attention", PROMPT, "--seed", "7", "--animate", *two)
    with Image.open("b.gif") as image:
        assert image.n_frames == 2


def test_heads_and_points_are_shown(run_cli):
    ran = run_cli(
        "attention", PROMPT, *QUICK, "--heads", "--words", "cat,guitar", "-o", "heads.png"
    )
    assert ran.code == 0
    with Image.open("heads.png") as image:
        # Two rows of an image and 2 layers x 4 heads, in at least two bands.
        assert image.height > 2 * 256
    raw = ("--raw", "self.safetensors", "-o", "self.png")
    ran = run_cli("attention", PROMPT, *QUICK, "--self", "40,56", *raw)
    assert ran.code == 0
    [(name, map_)] = load_file("self.safetensors").items()
    assert (name, map_.shape) == ("self/40,56", (8, 8))
    assert map_.sum() == pytest.approx(1, abs=1e-5)


def test_a_masked_area_is_drawn_without_its_surroundings(run_cli, tmp_path):
    run_cli("generate", PROMPT, *QUICK, "-o", "cat.png", "--size", "256x128")
    mask = Image.new("L", (256, 128))
    mask.paste(255, (32, 32, 80, 80))
    mask.save("mask.png")
    area = ("--image", "cat.png", "--mask", "mask.png", "--inpaint-area", "mask")
    ran = run_cli("attention", PROMPT, *QUICK, *area, "--separate", "-o", "words")
    assert ran.code == 0
    # The model draws a square of 128 pixels, which is enlarged.
    assert {size_of(path) for path in ran.paths} == {(256, 256)}


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (("--words", "dog"), 2, "the prompt has no word 'dog'"),
        (("--words", ","), 2, "--words: no names given"),
        (("--layers", "sideways"), 2, "the UNet has no cross-attention layers 'sideways'"),
        (("--at-steps", "3"), 2, "there is no step 3, this run has 2"),
        (("--at-steps", "0"), 2, "expected steps such as"),
        (("--at-steps", "9..5"), 2, "expected steps such as"),
        (("--self", "40"), 2, "expected a pixel such as 40,64"),
        (("--self", "400,1"), 2, "outside of the image of 128x128"),
        (("--swap", "a=b"), 2, "--swap has no effect without --causal"),
        (("--causal", "--swap", "cat"), 2, "is not WORD=OTHER"),
        (("--causal", "--swap", "dog=cat"), 2, "the prompt has no word 'dog'"),
        (("--causal", "--heads"), 2, "can't be used together"),
        (("--causal", "--layers", "up"), 2, "can't be used together"),
        (("--causal", "--self", "1,1"), 2, "can't be used together"),
        (("--animate", "--separate"), 2, "can't be used together"),
        (("--animate", "--causal"), 2, "can't be used together"),
        (("--heads", "--scale", "common"), 2, "can't be used together"),
        (("--separate", "--heads"), 2, "can't be used together"),
        (("--style", "loud"), 2, "--style"),
        (("--raw", "maps.txt"), 2, "does not end in .safetensors"),
        (("--count", "2"), 2, "attention measures one image"),
        (("--guidance", "2,3"), 2, "attention measures one image"),
        (("--inputs", "."), 2, "--inputs is for an IMAGE"),
        (("-o", "sheet.tiff"), 2, "unsupported output format"),
        (("--animate", "-o", "a.png"), 2, "unsupported output format"),
    ],
)
def test_mistakes_are_said_in_one_line(run_cli, argv, code, words):
    ran = run_cli("attention", PROMPT, *QUICK, *argv)
    assert (ran.code, ran.stdout) == (code, "")
    assert words in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_prompt_without_words_and_an_existing_file_are_refused(run_cli):
    ran = run_cli("attention", "", *QUICK)
    assert (ran.code, "the prompt has no words" in ran.stderr) == (2, True)
    Path("maps.safetensors").write_bytes(b"")
    ran = run_cli("attention", PROMPT, *QUICK, "--raw", "maps.safetensors")
    assert (ran.code, "exists" in ran.stderr) == (5, True)
    Image.new("RGB", (8, 8)).save("plain.png")
    ran = run_cli("attention", "plain.png")
    assert (ran.code, "no record" in ran.stderr) == (2, True)


def test_mistakes_and_help_load_nothing_heavy(tmp_path):
    code, modules = probe("attention", "--help", cwd=tmp_path)
    assert (code, HELP_FREE & modules) == (0, set())
    for argv in (("a cat", "--at-steps", "x"), ("a [cat:dog:3]",), ("a cat AND a dog",)):
        code, modules = probe("attention", *argv, cwd=tmp_path)
        assert (code, HEAVY & modules) == (2, set())
