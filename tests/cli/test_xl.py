"""Stable Diffusion XL through the command line: records, replay, batches, latents, refusals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sdcli.checkpoints.fingerprint import fingerprint
from sdcli.pipeline_spec import PipelineSpec
from tests.conftest import RunCli
from tests.image_files import pixels_of, record_of
from tests.xl_models import write_refiner, write_xl_model

SETTINGS = ("--size", "64x64", "--seed", "5", "--device", "cpu", "--dtype", "float32")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_xl_model(folder / "base")
    write_refiner(folder / "refiner")
    return folder


def test_a_refined_image_is_recorded_and_replayed(
    run_cli: RunCli, models: Path, tmp_path: Path
) -> None:
    ran = run_cli(
        "generate", "a cat", "-m", str(models / "base"), "--refiner", str(models / "refiner"),
        "--steps", "10", "--prompt-2", "a fish", "--original-size", "640X480", "--crop", "8, 0",
        "--target-size", "96x64", "-n", "", "--negative-2", "a dog", "-o", "a.png", *SETTINGS,
    )  # fmt: skip
    assert ran.code == 0, ran.stderr
    assert not ran.stderr
    record = record_of(tmp_path / "a.png")
    expected = {
        "model": "base", "refiner": "refiner", "refiner_at": 0.8, "aesthetic_score": 6.0,
        "prompt_2": "a fish", "negative_prompt": "", "negative_prompt_2": "a dog",
        "original_size": "640x480", "crop": "8,0", "target_size": "96x64",
    }  # fmt: skip
    assert expected.items() <= record["request"].items()
    assert record["refiner_call"] == 9
    assert {"text_encoder_2", "refiner.unet", "refiner.text_encoder_2"} <= set(record["weights"])
    parameters = Image.open(tmp_path / "a.png").text["parameters"]
    assert "Refiner: refiner, Refiner switch at: 0.8" in parameters
    # The models are found beside the image, by the names in its record.
    for name in ("base", "refiner"):
        shutil.copytree(models / name, tmp_path / "moved" / name)
    shutil.copy(tmp_path / "a.png", tmp_path / "moved" / "a.png")
    replayed = run_cli("replay", "moved/a.png", "--check", "-o", "again.png")
    assert (replayed.code, "identical" in replayed.stdout) == (0, True), replayed.stderr
    assert np.array_equal(pixels_of(tmp_path / "a.png"), pixels_of(tmp_path / "again.png"))


def test_a_refiner_that_is_missing_is_named_with_its_hash(
    run_cli: RunCli, models: Path, tmp_path: Path
) -> None:
    run_cli(
        "generate", "a cat", "-m", str(models / "base"), "--refiner", str(models / "refiner"),
        "--steps", "5", "-o", "a.png", *SETTINGS,
    )  # fmt: skip
    shutil.copytree(models / "base", tmp_path / "base")
    sha256 = record_of(tmp_path / "a.png")["weights"]["refiner.unet"]
    ran = run_cli("replay", "a.png", "-o", "again.png")
    assert ran.code == 3
    assert f"the record's refiner 'refiner' with weights of SHA-256 {sha256}" in ran.stderr
    assert "--set refiner=PATH" in ran.stderr
    given = run_cli("replay", "a.png", "--check", "--set", f"refiner={models / 'refiner'}")
    assert (given.code, "identical" in given.stdout) == (0, True), given.stderr


def test_no_negative_prompt_is_not_an_empty_one(
    run_cli: RunCli, models: Path, tmp_path: Path
) -> None:
    common = ("generate", "a cat", "-m", str(models / "base"), "--steps", "4", *SETTINGS)
    run_cli(*common, "-o", "left-out.png")
    run_cli(*common, "-n", "", "-o", "empty.png")
    records = [record_of(tmp_path / name) for name in ("left-out.png", "empty.png")]
    assert [record["request"]["negative_prompt"] for record in records] == [None, ""]
    assert records[0]["job"] != records[1]["job"]
    assert records[0]["pixels"] != records[1]["pixels"]
    for name in ("left-out.png", "empty.png"):
        ran = run_cli("replay", name, "--check", "--set", f"model={models / 'base'}")
        assert "identical" in ran.stdout, ran.stderr


def test_a_prompt_file_has_the_fields_and_sweeps_them(
    run_cli: RunCli, models: Path, tmp_path: Path
) -> None:
    rows = [
        {"prompt": "a cat", "prompt_2": "a fish", "crop": "0,16", "seed": 1},
        {"prompt": "a dog", "negative": "", "negative_2": "a star", "seed": 2},
        {"prompt": "a star", "original_size": ["64x64", "32x32"], "refiner_at": 0.5, "seed": 3},
    ]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, rows)))
    argv = (
        "batch", "p.jsonl", "-m", str(models / "base"), "--refiner", str(models / "refiner"),
        "--steps", "4", "--size", "64x64", "--device", "cpu", "-o", "out",
    )  # fmt: skip
    ran = run_cli(*argv)
    assert ran.code == 0, ran.stderr
    requests = [record_of(path)["request"] for path in ran.paths]
    assert [request["crop"] for request in requests] == ["0,16", None, None, None]
    assert [request["original_size"] for request in requests] == [None, None, "64x64", "32x32"]
    assert [request["refiner_at"] for request in requests] == [0.8, 0.8, 0.5, 0.5]
    assert len({record_of(path)["pixels"]["sha256"] for path in ran.paths}) == 4
    again = run_cli(*argv)
    assert (again.code, again.paths) == (0, [])


def test_wildcards_fill_the_second_prompts(run_cli: RunCli, models: Path) -> None:
    ran = run_cli(
        "generate", "a {cat|dog}", "--prompt-2", "a {fish|star}", "--wildcard-mode", "all",
        "-m", str(models / "base"), "--steps", "1", *SETTINGS,
    )  # fmt: skip
    assert ran.code == 0, ran.stderr
    requests = [record_of(path)["request"] for path in ran.paths]
    texts = [(request["prompt"], request["prompt_2"]) for request in requests]
    assert texts == [(f"a {a}", f"a {b}") for a in ("cat", "dog") for b in ("fish", "star")]


@pytest.mark.parametrize("scheduler", ["euler", "dpm++ 2m"])
def test_latents_are_decoded_previewed_and_resumed(
    run_cli: RunCli, models: Path, tmp_path: Path, scheduler: str
) -> None:
    base = str(models / "base")
    ran = run_cli(
        "generate", "a cat", "-m", base, "--steps", "6", "-s", scheduler, "--save-latents", "all",
        "--preview-out", "preview.png", "--record-paths", "-o", "a.png", *SETTINGS,
    )  # fmt: skip
    assert ran.code == 0, ran.stderr
    assert (tmp_path / "preview.png").exists()
    assert run_cli("latents", "decode", "a.latents.safetensors", "-o", "d.png").code == 0
    assert np.array_equal(pixels_of(tmp_path / "a.png"), pixels_of(tmp_path / "d.png"))
    resumed = run_cli(
        "latents", "resume", "a.latents.safetensors", "--from-step", "3", "-o", "r.png"
    )
    assert resumed.code == 0, resumed.stderr
    assert np.array_equal(pixels_of(tmp_path / "a.png"), pixels_of(tmp_path / "r.png"))


@pytest.mark.parametrize("step", ["1", "4"])
def test_a_refined_run_is_resumed_in_either_part(
    run_cli: RunCli, models: Path, tmp_path: Path, step: str
) -> None:
    run_cli(
        "generate", "a cat", "-m", str(models / "base"), "--refiner", str(models / "refiner"),
        "--steps", "6", "--refiner-at", "0.5", "--save-latents", "all", "--record-paths",
        "-o", "a.png", *SETTINGS,
    )  # fmt: skip
    ran = run_cli("latents", "resume", "a.latents.safetensors", "--from-step", step, "-o", "r.png")
    assert ran.code == 0, ran.stderr
    assert np.array_equal(pixels_of(tmp_path / "a.png"), pixels_of(tmp_path / "r.png"))
    calls = {record_of(tmp_path / name)["refiner_call"] for name in ("a.png", "r.png")}
    assert calls == {3}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--prompt-2", "a fish"), "prompt_2 has no effect on this model"),
        (("-n", "x", "--negative-2", "y"), "negative_prompt_2 (--negative-2) has no effect"),
        (("--original-size", "64x64"), "original_size has no effect on this model"),
        (("--crop", "0,0"), "crop has no effect on this model"),
        (("--target-size", "64x64"), "target_size has no effect on this model"),
        (("--refiner-at", "0.5"), "refiner_at has no effect without a refiner"),
        (("--aesthetic-score", "5"), "aesthetic_score has no effect without a refiner"),
        (("--crop", "5"), "crop: '5' is not X,Y"),
        (("--original-size", "0x5"), "original_size: '0x5' is not between 1 and 16384"),
        (("--target-size", "big"), "target_size: 'big' is not WIDTHxHEIGHT"),
        (("--refiner-at", "1.5"), "refiner_at: 1.5 is not between 0 and 1"),
    ],
)
def test_the_embedded_model_refuses_the_settings(
    run_cli: RunCli, options: tuple[str, ...], message: str
) -> None:
    ran = run_cli("generate", "a cat", *options)
    assert ran.code == 2
    assert message in ran.stderr


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("-m", "refiner"), 3, "a refiner, which only continues what another model began"),
        (("--refiner", "embedded"), 3, "it must be a Stable Diffusion XL model"),
        (("-m", "embedded", "--refiner", "refiner"), 3, "only Stable Diffusion XL takes a refiner"),
        (("--refiner", "refiner", "--refiner-at", "1"), 2, "leaves the refiner nothing to do"),
        (("--refiner", "refiner", "--refiner-at", "0"), 2, "leaves the base model nothing to do"),
        (("--refiner", "refiner", "-s", "heun"), 2, "Heun cannot hand a run over"),
        (("--refiner", "refiner", "-s", "lms"), 2, "LMS cannot hand a run over"),
        (("--refiner", "base", "--aesthetic-score", "5"), 2, "no effect on this refiner"),
        (("--negative-2", "a dog"), 2, "no effect without a negative prompt"),
        (("--guidance", "1", "-n", "x", "--negative-2", "a dog"), 2, "at guidance 1"),
        (("--clip-skip", "3"), 2, "skips all 3 layers"),
        (("--refiner", "nowhere"), 3, "no model at 'nowhere'"),
    ],
)
def test_refusals(
    run_cli: RunCli, models: Path, options: tuple[str, ...], code: int, message: str
) -> None:
    located = [str(models / o) if o in ("base", "refiner") else o for o in options]
    own = () if "-m" in options else ("-m", str(models / "base"))
    ran = run_cli("generate", "a cat", *own, *located, *SETTINGS, "-o", "a.png")
    assert ran.code == code, ran.stderr
    assert message in ran.stderr
    assert "Traceback" not in ran.stderr


def test_the_fingerprint_covers_the_second_text_encoder_the_flags_and_the_refiner(
    models: Path, tmp_path: Path
) -> None:
    def of(name: str, **spec: Any) -> str:
        return fingerprint(PipelineSpec(model=str(tmp_path / name), **spec))

    for name in ("base", "same", "encoder", "flag"):
        shutil.copytree(models / "base", tmp_path / name)
    shutil.copytree(models / "refiner", tmp_path / "refiner")
    weights = tmp_path / "encoder" / "text_encoder_2" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    index = tmp_path / "flag" / "model_index.json"
    changed = json.loads(index.read_text()) | {"force_zeros_for_empty_prompt": False}
    index.write_text(json.dumps(changed))
    assert of("base") == of("same")
    refined = of("base", refiner=str(tmp_path / "refiner"))
    assert len({of("base"), of("encoder"), of("flag"), refined}) == 4


def test_inspect_knows_both_parts(run_cli: RunCli, models: Path) -> None:
    base = run_cli("inspect", str(models / "base"), "--json").document
    assert base["defaults"]["family"] == "Stable Diffusion XL"
    assert base["defaults"]["num_inference_steps"] == 30
    assert base["defaults"]["guidance_scale"] == 5.0
    assert base["defaults"]["xl"] == {
        "text_encoders": 2, "zeroes_negative": True, "takes_aesthetic_score": False,
    }  # fmt: skip
    refiner = run_cli("inspect", str(models / "refiner"), "--json").document
    assert refiner["defaults"]["family"] == "Stable Diffusion XL Refiner"
    assert refiner["defaults"]["xl"]["takes_aesthetic_score"]
    text = run_cli("inspect", str(models / "base")).stdout
    assert "xl: text_encoders 2, zeroes_negative True, takes_aesthetic_score False" in text
