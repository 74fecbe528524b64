"""Test that the records of other programs become fields, and that the rest is listed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sdcli.interop.export import to_request_fields, unmapped_fields
from sdcli.interop.readers import describe_unreadable, read_foreign
from sdcli.storage.images.codec import read_image_info
from sdcli.storage.metadata.a1111_parameters import ParametersText, parse_text

FIELDS = "Steps: 20, Sampler: Euler, Seed: 5, CFG scale: 7, Size: 512x512"
FOOOCUS = {
    "base_model": "sd", "base_model_hash": "ab", "guidance_scale": 4, "prompt": "a cat",
    "full_prompt": ["a cat", "x"], "full_negative_prompt": ["y"], "negative_prompt": "",
    "resolution": "(1152, 896)", "sampler": "dpmpp_2m", "scheduler": "karras", "seed": "5",
    "sharpness": 2, "steps": 30, "loras": [["x", 0.1]], "clip_skip": 2, "version": "Fooocus v2.5",
}  # fmt: skip
INVOKE = {
    "positive_prompt": "a cat", "seed": 5, "steps": 20, "cfg_scale": 7.5, "scheduler": "euler",
    "cfg_rescale_multiplier": 0.7, "clip_skip": 1, "width": 512, "height": 640, "loras": [],
    "vae": {"name": "mse"}, "model": {"name": "sd-1", "hash": "ab"}, "app_version": "4.2",
}  # fmt: skip
NOVELAI = {
    "Description": "a cat", "Source": "Stable Diffusion F1022D28", "Software": "NovelAI",
    "Comment": json.dumps({"steps": 28, "sampler": "k_euler_ancestral", "seed": 5, "scale": 11.0,
                           "uc": "a dog", "width": 512, "height": 768, "n_samples": 1}),
}  # fmt: skip


def read_fields(path: Path) -> tuple[dict[str, object], dict[str, object]]:
    """The fields of a request in an image's record, and the values left out."""
    reading = read_foreign(path, read_image_info(path)["parameters"])
    assert reading is not None
    taken, left = to_request_fields(reading)
    return taken, left | unmapped_fields(reading)


def png(path: Path, texts: dict[str, str]) -> Path:
    info = PngInfo()
    for key, value in texts.items():
        info.add_itxt(key, value)
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    return path


def jpeg(path: Path, comment: bytes) -> Path:
    exif = Image.Exif()
    exif[0x8769] = {0x9286: comment}
    Image.new("RGB", (8, 8)).save(path, exif=exif)
    return path


def test_a_name_without_a_value_hides_no_other() -> None:
    fields = parse_text(f"a cat\n{FIELDS.replace('Seed', 'Tiling, Seed')}, FreeU").fields
    expected = {"Steps": "20", "Sampler": "Euler", "Seed": "5", "CFG scale": "7", "Size": "512x512"}
    assert fields == expected


@pytest.mark.parametrize(
    ("text", "prompt", "negative"),
    [
        ("a sign: Negative prompt: x", "a sign: Negative prompt: x", ""),
        ("a\nNegative prompt: b\nNegative prompt: c", "a", "b\nNegative prompt: c"),
        ("Negative prompt: b", "", "b"),
        ("a\n  Negative prompt: b", "a", "b"),
    ],
)
def test_a_negative_prompt_begins_a_line(text: str, prompt: str, negative: str) -> None:
    parsed = parse_text(f"{text}\n{FIELDS}")
    assert (parsed.prompt, parsed.negative_prompt) == (prompt, negative)


@pytest.mark.parametrize("text", ["a cat", "a cat, Steps: 3", "x: y, z: w", "a\nb, c, d, e"])
def test_a_text_without_fields_is_all_prompt(text: str) -> None:
    assert parse_text(text) == ParametersText(prompt=text, negative_prompt="", fields={})


def test_other_a1111_fields_are_listed_and_its_ancestral_eta_is_left_out(tmp_path: Path) -> None:
    more = "Eta: 0.7, Denoising strength: 0.4, Hires upscale: 2, RNG: CPU"
    path = tmp_path / "x.png"
    text = f"a cat\n{FIELDS.replace('Euler', 'Euler a')}, {more}"
    taken, left = read_fields(png(path, {"parameters": text}))
    assert taken["scheduler"] == "Euler a"
    assert (taken["hires"], taken["hires_strength"], left) == ("2", 0.4, {"eta": 0.7})
    text = f"a cat\n{FIELDS.replace('Euler', 'DDIM')}, Eta DDIM: 0.3"
    taken, left = read_fields(png(path, {"parameters": text}))
    assert (taken["eta"], left) == (0.3, {})


def test_a_width_without_a_height_is_left_out(tmp_path: Path) -> None:
    text = f"a cat\n{FIELDS.replace('512x512', '99999999x512')}"
    taken, left = read_fields(png(tmp_path / "x.png", {"parameters": text}))
    assert "width" not in taken
    assert "height" not in taken
    assert left == {"width": "99999999", "height": 512}


def test_a_prompt_in_braces_is_not_taken_for_json(tmp_path: Path) -> None:
    taken, _ = read_fields(png(tmp_path / "x.png", {"parameters": f"{{red|blue}} cat\n{FIELDS}"}))
    assert taken["prompt"] == "{red|blue} cat"


def test_the_prompt_of_fooocus_and_resolution_are_read(tmp_path: Path) -> None:
    taken, left = read_fields(png(tmp_path / "x.png", {"parameters": json.dumps(FOOOCUS)}))
    assert taken == {
        "prompt": "a cat", "scheduler": "dpmpp_2m karras", "num_inference_steps": 30,
        "guidance_scale": 4, "seed": 5, "width": 1152, "height": 896,
    }  # fmt: skip
    assert left["full_prompt"] == '["a cat", "x"]'
    assert (left["model"], left["clip_skip"], left["loras"]) == ("sd", "2", '[["x", 0.1]]')


@pytest.mark.parametrize(
    ("prompt", "syntax"),
    [("a (cat)1.3, red++", "compel"), ("a cat, blue-eyed", None), ("a (cat", None)],
)
def test_prompts_of_invokeai_are_read_in_its_syntax(
    tmp_path: Path, prompt: str, syntax: str | None
) -> None:
    record = {**INVOKE, "positive_prompt": prompt}
    taken, _ = read_fields(png(tmp_path / "x.png", {"invokeai_metadata": json.dumps(record)}))
    assert (taken["prompt"], taken.get("prompt_syntax")) == (prompt, syntax)


def test_the_rescale_of_invokeai_and_clip_skip_are_read(tmp_path: Path) -> None:
    taken, left = read_fields(png(tmp_path / "x.png", {"invokeai_metadata": json.dumps(INVOKE)}))
    assert (taken["guidance_rescale"], taken["clip_skip"]) == (0.7, 1)
    assert left == {"model": "sd-1", "vae": '{"name": "mse"}', "app_version": "4.2"}


def test_novelai_is_read(tmp_path: Path) -> None:
    taken, left = read_fields(png(tmp_path / "x.png", NOVELAI))
    assert taken == {
        "prompt": "a cat", "negative_prompt": "a dog", "scheduler": "k_euler_ancestral",
        "num_inference_steps": 28, "guidance_scale": 11.0, "seed": 5, "width": 512, "height": 768,
    }  # fmt: skip
    assert left == {"model": "Stable Diffusion", "n_samples": "1"}


TEXT = f"a cat 猫\n{FIELDS}"


@pytest.mark.parametrize(
    "comment",
    [
        b"UNICODE\0" + TEXT.encode("utf-16-be"),
        b"UNICODE\0" + TEXT.encode("utf-16-le"),
        b"UNICODE\0" + TEXT.encode("utf-16"),
        b"UNICODE\0" + TEXT.encode("utf-16-le") + b"\0\0",
        b"ASCII\0\0\0" + TEXT.encode(),
        b"\0\0\0\0\0\0\0\0" + TEXT.encode(),
    ],
)
def test_exif_comments_of_every_encoding_are_read(tmp_path: Path, comment: bytes) -> None:
    taken, _ = read_fields(jpeg(tmp_path / "x.jpg", comment))
    assert (taken["prompt"], taken["seed"], taken["width"]) == ("a cat 猫", 5, 512)


def test_fooocus_and_dgenerate_are_read_in_exif_too(tmp_path: Path) -> None:
    for encoding in ("utf-16-be", "utf-16-le"):
        comment = b"UNICODE\0" + json.dumps(FOOOCUS).encode(encoding)
        assert read_fields(jpeg(tmp_path / "x.jpg", comment))[0]["width"] == 1152
    config = "#! /usr/bin/env dgenerate --file\n#! dgenerate 4.5\n\nsd --prompts 'a cat' --seeds 5"
    for start, encoding in ((b"UNICODE\0", "utf-16-be"), (b"ASCII\0\0\0", "ascii")):
        path = jpeg(tmp_path / "x.jpg", start + config.encode(encoding))
        assert read_fields(path)[0] == {"prompt": "a cat", "seed": 5}


def test_the_comment_of_a_camera_is_not_a_prompt(tmp_path: Path) -> None:
    path = jpeg(tmp_path / "x.jpg", b"ASCII\0\0\0Screenshot")
    assert read_foreign(path, read_image_info(path)["parameters"]) is None
    shown = "its text 'UserComment' could not be read: 'Screenshot'"
    assert describe_unreadable(path) == shown


def test_unreadable_text_is_described(tmp_path: Path) -> None:
    path = png(tmp_path / "x.png", {"prompt": '{"1": {"inputs": {}}}', "workflow": "{}"})
    assert read_foreign(path, None) is None
    named = "its text 'prompt' (ComfyUI) and 'workflow' (ComfyUI) could not be read"
    named += """: '{"1": {"inputs": {}}}', '{}'"""
    assert describe_unreadable(path) == named
