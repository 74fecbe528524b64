"""`sdcli inspect` of images: ours as a command again, strangers' as data, anything without harm."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sdcli.catalog.schedulers.resolve import resolve_scheduler
from sdcli.cli import main
from sdcli.interop.export import to_command
from sdcli.request import GenerationRequest
from sdcli.storage.images.codec import read_image_info
from sdcli.storage.metadata.a1111_parameters import parse_text

A1111 = """a cat, (masterpiece:1.2), <lora:x:0.5>
on two lines
Negative prompt: blurry, "bad"
Steps: 22, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 42, Size: 512x768, \
Model hash: 6ce0161689, Model: v1-5-pruned, VAE: "a, b.safetensors", Clip skip: 2, \
Lora hashes: "x: 1234, y: 5678", Version: v1.9.4"""
CPP = """a cat
Steps: 20, CFG scale: 7.000000, Guidance: 3.500000, Seed: 42, Size: 512x512, Model: sd15.gguf, \
RNG: cuda, Sampler: euler_a, Version: stable-diffusion.cpp"""
COMFY = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd15.safetensors"}},
    "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat", "clip": ["1", 1]}},
    "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "a dog", "clip": ["1", 1]}},
    "4": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 512}},
    "5": {
        "class_type": "KSampler",
        "inputs": {
            "seed": 5, "steps": 20, "cfg": 8.0, "sampler_name": "dpmpp_2m", "scheduler": "karras",
            "denoise": 1.0, "model": ["1", 0], "positive": ["2", 0], "negative": ["3", 0],
            "latent_image": ["4", 0],
        },
    },
}  # fmt: skip
INVOKE = {
    "positive_prompt": "a cat", "negative_prompt": "a dog", "seed": 5, "steps": 20,
    "cfg_scale": 7.5, "scheduler": "euler", "width": 512, "height": 640,
    "model": {"model_name": "sd-1", "model_hash": "ab"}, "app_version": "4.2",
}  # fmt: skip
FOOOCUS = {
    "base_model": "sd", "base_model_hash": "ab", "guidance_scale": 4.0, "prompt": "a cat",
    "negative_prompt": "a dog", "sampler": "dpmpp_2m", "scheduler": "karras", "seed": 5,
    "resolution": "(512, 768)", "steps": 30, "version": "Fooocus v2.5",
}  # fmt: skip
MFLUX = {"mflux_version": "0.10", "model": "dev", "seed": 5, "steps": 20, "guidance": 3.5,
         "prompt": "a cat", "width": 512, "height": 512}  # fmt: skip
DGENERATE = """#! /usr/bin/env dgenerate --file
#! dgenerate 4.5.1

stable-diffusion-v1-5/stable-diffusion-v1-5 \\
--inference-steps 20 \\
--guidance-scales 7.5 \\
--seeds 5 --output-size 512x640 \\
--prompts "a cat; a dog" \\
--output-path `rm -rf /`
"""


def png(path: Path, **texts: str) -> Path:
    info = PngInfo()
    for key, value in texts.items():
        info.add_itxt(key, value)
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    return path


SAMPLES = {
    "A1111": ({"parameters": A1111}, "DPM++ 2M Karras"),
    "stable-diffusion.cpp": ({"parameters": CPP}, "euler_a"),
    "ComfyUI": ({"prompt": json.dumps(COMFY)}, "dpmpp_2m karras"),
    "InvokeAI": ({"invokeai_metadata": json.dumps(INVOKE)}, "euler"),
    "Fooocus": ({"parameters": json.dumps(FOOOCUS)}, "dpmpp_2m karras"),
    "mflux": ({"UserComment": json.dumps(MFLUX)}, None),
    "dgenerate": ({"DgenerateConfig": DGENERATE}, None),
}


@pytest.mark.parametrize("generator", SAMPLES)
def test_a_stranger_s_image_is_read(run_cli, tmp_path, generator):
    texts, scheduler = SAMPLES[generator]
    path = str(png(tmp_path / "x.png", **texts))
    told = run_cli("inspect", path, "--json").document["foreign"]
    assert told["generator"] == generator
    request = GenerationRequest.from_dict(told["request"])
    assert request.prompt.startswith("a cat")
    assert request.seed in (5, 42)
    assert request.num_inference_steps in (20, 22, 30)
    assert request.guidance_scale in (3.5, 4.0, 6.5, 7.0, 7.5, 8.0)
    assert request.scheduler == scheduler
    assert request.width == 512
    assert "a cat" in run_cli("inspect", path).stdout
    ran = run_cli("inspect", path, "--as-prompt-line")
    assert GenerationRequest.from_dict(json.loads(ran.stdout)) == request
    assert shlex.split(run_cli("inspect", path, "--as-command").stdout)[:2] == ["sdcli", "generate"]


def test_the_names_in_a_graph_cannot_begin_a_line(run_cli, tmp_path):
    name = "Evil\nforged: 1\rforged: 2\u2028forged: 3\x1b[31m"
    nodes = json.loads(json.dumps(COMFY)) | {"6": {"class_type": name, "inputs": {"x": 1}}}
    nodes["1"]["inputs"]["ckpt_name"] = nodes["5"]["inputs"]["sampler_name"] = name
    nodes["2"]["inputs"]["text"] = ["6", 0]
    path = str(png(tmp_path / "x.png", prompt=json.dumps(nodes)))
    lines = run_cli("inspect", path).stdout.splitlines()
    assert sum("forged: 3" in line for line in lines) == 4
    assert not any(line.strip().startswith("forged") or "\x1b" in line for line in lines)
    ran = run_cli("inspect", path, "--as-command")
    assert (ran.code, len(ran.stderr.splitlines())) == (2, 2)


def test_a1111_s_quotes_and_clip_skip(run_cli, tmp_path):
    parsed = parse_text(A1111)
    prompt, negative, fields = parsed.prompt, parsed.negative_prompt, parsed.fields
    assert prompt == "a cat, (masterpiece:1.2), <lora:x:0.5>\non two lines"
    assert negative == 'blurry, "bad"'
    assert fields["VAE"] == "a, b.safetensors"
    assert fields["Lora hashes"] == "x: 1234, y: 5678"
    assert fields["Version"] == "v1.9.4"
    path = png(tmp_path / "x.png", parameters=A1111)
    ran = run_cli("inspect", str(path), "--as-prompt-line")
    assert json.loads(ran.stdout)["clip_skip"] == 1
    assert "skipped: model v1-5-pruned" in ran.stderr
    assert "not supported: Model hash 6ce0161689, VAE a, b.safetensors, Lora hashes" in ran.stderr
    assert "Version" not in ran.stderr


def test_a_stranger_s_command_runs(run_cli, tmp_path):
    """Whatever was left out, what is printed is no usage error."""
    fields = "Steps: 1, Sampler: Euler a, Tiling, CFG scale: 3, Seed: 5, Size: 99999999x64, Eta: 1"
    path = png(tmp_path / "x.png", parameters=f"a cat\n{fields}")
    ran = run_cli("inspect", str(path), "--as-command")
    assert "skipped: width 99999999" in ran.stderr
    command = shlex.split(ran.stdout)
    made = run_cli(*command[1:], "--device", "cpu", "-o", "new.png")
    assert (made.code, made.stderr.count("error")) == (0, 0)
    request = read_image_info("new.png")["record"]["request"]
    assert (request["seed"], request["guidance_scale"], request["scheduler"]) == (5, 3, "Euler a")


@pytest.mark.parametrize("how", ["--as-command", "--as-prompt-line"])
def test_what_says_nothing_is_told_apart(run_cli, tmp_path, how):
    ran = run_cli("inspect", str(png(tmp_path / "plain.png")), how)
    assert (ran.code, ran.stderr.count("has no metadata about how it was made")) == (2, 1)
    graph = png(tmp_path / "graph.png", prompt='{"1": {}}', workflow="{}")
    ran = run_cli("inspect", str(graph), how)
    assert ran.code == 2
    assert "graph.png: its text 'prompt' (ComfyUI) and 'workflow' (ComfyUI)" in ran.stderr
    assert "could not be read" in run_cli("inspect", str(graph)).stdout
    Path(tmp_path, "x.txt").write_text("a cat")
    ran = run_cli("inspect", "x.txt", how)
    assert (ran.code, ran.stderr.count("x.txt: not an image")) == (2, 1)
    ran = run_cli("inspect", "missing.txt", how)
    assert (ran.code, ran.stderr.count("no file at")) == (2, 1)


def test_a_record_of_a_later_version_is_named(run_cli, tmp_path):
    record = {"schema": "sdcli/record/2", "request": {"prompt": "a", "bogus": 1}}
    path = png(tmp_path / "later.png", sdcli=json.dumps(record))
    ran = run_cli("inspect", str(path), "--as-command")
    assert ran.code == 2
    assert "later.png: its record (sdcli/record/2) is of a later version" in ran.stderr
    assert "'bogus'" in ran.stderr


@pytest.mark.parametrize(
    ("sampler", "kind", "label"),
    [
        ("DPM++ 2M", "Automatic", "DPM++ 2M Karras"),
        ("DPM++ 2M", "Uniform", "DPM++ 2M"),
        ("DPM++ 2M SDE", "Automatic", "DPM++ 2M SDE Exponential"),
        ("Euler", "Automatic", "Euler"),
        ("Euler", "Simple", "Euler SGM Uniform"),
        ("Euler a", "Normal", "Euler a"),
        ("Heun", "DDIM", "Heun DDIM Uniform"),
        ("DDIM", "Automatic", "DDIM"),
        ("DPM++ 2M Karras", None, "DPM++ 2M Karras"),
    ],
)
def test_a1111_s_schedule_type_is_part_of_the_scheduler(run_cli, tmp_path, sampler, kind, label):
    pair = f"Sampler: {sampler}, " + (f"Schedule type: {kind}, " if kind else "")
    text = f"a cat\nSteps: 22, {pair}CFG scale: 7, Seed: 4, Size: 64x64"
    path = png(tmp_path / "x.png", parameters=text)
    request = run_cli("inspect", str(path), "--json").document["foreign"]["request"]
    assert resolve_scheduler(request["scheduler"]).label == label


def test_ours_is_a_command_that_makes_the_same_picture(run_cli):
    argv = ("-n", "a dog", "--steps", "2", "--size", "64x72", "-s", "Euler a", "--device", "cpu")
    run_cli("generate", 'a cat\'s "hat"', *argv, "-o", "cat.png")
    command = shlex.split(run_cli("inspect", "cat.png", "--as-command").stdout)
    run_cli(*command[1:], "-o", "again.png")
    assert (
        read_image_info("again.png")["pixels_sha256"] == read_image_info("cat.png")["pixels_sha256"]
    )
    line = json.loads(run_cli("inspect", "cat.png", "--as-prompt-line").stdout)
    assert line["prompt"] == 'a cat\'s "hat"'
    asked = GenerationRequest.from_dict(read_image_info("cat.png")["record"]["request"])
    assert GenerationRequest.from_dict(line) == asked


def test_numbers_that_json_lacks_are_null(run_cli, tmp_path):
    record = '{"schema": "sdcli/record/1", "request": {"prompt": "x"}, "sigmas": [Infinity, NaN]}'
    ran = run_cli("inspect", str(png(tmp_path / "x.png", sdcli=record)), "--json")
    assert ran.code == 0
    assert not {"Infinity", "NaN"} & set(re.findall(r"\w+", ran.stdout))
    assert '"sigmas": [null, null]' in ran.stdout


def test_our_own_a1111_text_reads_back(run_cli):
    argv = ("-n", "a: b", "--steps", "2", "-s", "dpmpp_2m karras", "--clip-skip", "1")
    run_cli("generate", "a cat", *argv, "--seed", "3", "-g", "2.5", "-o", "cat.png")
    document = read_image_info("cat.png")
    parsed = parse_text(document["parameters"])
    prompt, negative, fields = parsed.prompt, parsed.negative_prompt, parsed.fields
    assert (prompt, negative) == ("a cat", "a: b")
    assert fields | {"Version": ""} == {
        "Steps": "2", "Sampler": "DPM++ 2M", "Schedule type": "Karras", "CFG scale": "2.5",
        "Seed": "3", "Size": "128x128", "Model": "tiny-emoji-128", "Clip skip": "2",
        "RNG": "CPU", "Version": "",
    }  # fmt: skip


@given(st.text(max_size=60), st.text(max_size=60))
def test_a_command_is_one_word_a_value(prompt, negative):
    from hypothesis import assume

    assume("\0" not in prompt + negative and prompt != "-")
    command = to_command({"prompt": prompt, "negative_prompt": negative or None})
    if "$'" not in command:
        assert prompt in shlex.split(command)
    assert "\x1b" not in command
    assert "\n" not in command


KEYS = st.sampled_from(
    ["request", "schema", "scheduler", "pixels", "prompt", "seed", "class_type", "inputs", "text",
     "sampler_name", "steps", "cfg", "positive", "model", "mflux_version", "width", "1", "2",
     "image", "base_model", "sampler", "version", "versions", "weights", "sigmas", "latent_image",
     "scheduler", "lora_name", "resolution", "cfg_scale", "decoded"]
) | st.text(max_size=4)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=20,
)
DEEP = "[" * 700 + "]" * 700
CHUNKS = st.sampled_from(
    ["sdcli", "parameters", "prompt", "workflow", "invokeai_metadata", "sd-metadata", "Dream",
     "DgenerateConfig", "UserComment", "Comment", "Description", "Software"]
)  # fmt: skip
TEXTS = st.one_of(
    JSON.map(lambda value: json.dumps(value, default=str)),
    st.text(max_size=80),
    st.sampled_from([COMFY, INVOKE, FOOOCUS, MFLUX])
    .flatmap(
        lambda facts: st.fixed_dictionaries({key: st.just(facts[key]) | JSON for key in facts})
    )
    .map(json.dumps),
    st.sampled_from(
        [
            json.dumps({**facts, key: 0}).replace(f'"{key}": 0', f'"{key}": {DEEP}')
            for facts in (INVOKE, FOOOCUS, MFLUX)
            for key in facts
        ]
    ),
    st.sampled_from([A1111, CPP, DGENERATE, json.dumps(COMFY), json.dumps(INVOKE), "[" * 5000]),
    st.text(max_size=20).map(lambda text: f"a\nSteps: {text}, Size: {text}, Clip skip: {text}"),
)


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(CHUNKS, TEXTS, max_size=4), st.sampled_from(["", "line", "command", "json"]))
def test_no_record_makes_a_traceback(texts, mode):
    argv = {"": [], "json": ["--json"]}.get(mode, [f"--as-{'prompt-' * (mode == 'line')}{mode}"])
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = png(Path(folder, "x.png"), **texts)
        except UnicodeEncodeError:
            return  # surrogates are no text of a PNG
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(["inspect", str(path), *argv])
    assert code in (0, 2, 7)
    assert "\x1b" not in out.getvalue()


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=200), st.sampled_from([".png", ".jpg", ".webp"]), st.integers(0, 400))
def test_no_bytes_make_a_traceback(data, suffix, at):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG", pnginfo=None)
    whole = buffer.getvalue()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"x{suffix}")
        path.write_bytes(whole[:at] + data + whole[at + len(data) :])
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            assert main(["inspect", str(path)]) in (0, 7)
