"""What version 0.1.0 left on disk is still understood: images, latents, a batch, settings.

`v0_1_0/make.py` wrote the files with that version; `expected.json` holds the pixels that it drew.
Nothing here imports more than the command line, so the tests outlive every move inside the package.

The pixels are compared to the bit. That holds for CPUs of the kind that drew them, with one thread:
CI runs on that kind. On another generation of CPU, or with other versions of torch, sums may round
otherwise, and what must be identical here may come out close.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.numpy import load_file

from sdcli.cli import main

KEPT = Path(__file__).parent / "v0_1_0"
EXPECTED = json.loads((KEPT / "expected.json").read_text("utf-8"))
PIXELS = EXPECTED["images"]
EXACT = ("plain.png", "options.jpg", "tiny.webp", "ancestral.png", "decoded.png")
BATCHED = ("batched-0001.png", "batched-0002.png", "batched-0003.png")
BATCH = ("batch", "prompts.txt", "--batch-size", "1", "--save-latents", "final", "-o", "out")
OTHER = "a dog and a guitar on a blue background"


@dataclass(frozen=True)
class Ran:
    """What a run left behind."""

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.stdout)
        return document


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """`run(*argv)`, with no settings and no cache of the user's."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))

    def run(*argv: str) -> Ran:
        capsys.readouterr()
        code = main(argv)
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return run


def enter(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a copy of a folder that 0.1.0 left."""
    copy = folder / name
    shutil.copytree(KEPT / name, copy)
    monkeypatch.chdir(copy)
    return copy


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a copy of the images and latents."""
    return enter("images", tmp_path, monkeypatch)


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a batch that was killed at its third image of five; prompts.txt is here.

    Git keeps no times: what the killed process claimed is made as old as it is.
    """
    out = enter("half", tmp_path, monkeypatch) / "out"
    [claim] = (out / ".sdcli-claims").iterdir()
    os.utime(claim, (0, 0))
    return out


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: sdcli.toml, and a file of one prompt."""
    folder = enter("settings", tmp_path, monkeypatch)
    (folder / "prompts.txt").write_text("a cat\n")
    return folder


def pixels(path: str | Path) -> str:
    """The hash of an image's pixels, as the records of 0.1.0 define it."""
    with Image.open(path) as image:
        head = f"RGB {image.width} {image.height}\n".encode()
        return hashlib.sha256(head + image.convert("RGB").tobytes()).hexdigest()


def content(folder: Path) -> dict[str, bytes]:
    """The files of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


ASKED = {
    "plain.png": {
        "prompt": "a cat and a guitar on a blue background",
        "negative_prompt": "a dog",
        "scheduler": "DPM++ 2M",
        "num_inference_steps": 4,
        "seed": 7,
    },
    "options.jpg": {
        "prompt": "a red circle on a blue background",
        "negative_prompt": None,
        "scheduler": "DPM++ 2M Karras;solver_order=3",
        "num_inference_steps": 5,
        "guidance_scale": 5.0,
        "guidance_rescale": 0.5,
        "clip_skip": 1,
        "width": 72,
        "height": 64,
        "seed": 8,
    },
    "tiny.webp": {
        "prompt": "a snowman in the snow",
        "scheduler": "DDIM;timestep_spacing=trailing",
        "eta": 0.5,
        "vae": "tiny",
        "seed": 9,
    },
    "ancestral.png": {"prompt": "a green apple", "scheduler": "Euler a", "seed": 10},
    "decoded.png": {"prompt": "a green apple", "scheduler": "Euler a", "seed": 10},
    "batched-0001.png": {"prompt": "a fish", "seed": 11},
    "batched-0002.png": {"prompt": "a lemon", "seed": 11},
    "batched-0003.png": {"prompt": "a red star", "seed": 11},
    "resumed.png": {"prompt": OTHER, "negative_prompt": "a dog", "seed": 7},
}


@pytest.mark.parametrize("name", ASKED)
def test_an_image_tells_how_it_was_made(run: Run, images: Path, name: str) -> None:
    document = run("inspect", name, "--json").document
    record = document["record"]
    assert {field: record["request"][field] for field in ASKED[name]} == ASKED[name]
    assert record["versions"]["sdcli"] == "0.1.0"
    assert record["batch_size"] == (3 if name in BATCHED else 1)
    assert record["pixels"]["sha256"] == PIXELS[name]
    assert document["pixels_sha256"] == pixels(name)
    assert name == "options.jpg" or pixels(name) == PIXELS[name]
    assert document["parameters"].startswith(ASKED[name]["prompt"])
    assert document["parameters"].endswith("Version: sdcli 0.1.0")


def test_a_sidecar_is_the_record(run: Run, images: Path) -> None:
    document = run("inspect", "ancestral.png", "--json").document
    assert json.loads(Path("ancestral.json").read_text("utf-8")) == document["record"]


def test_decoded_images_without_a_run_tell_what_they_know(run: Run, images: Path) -> None:
    document = run("inspect", "vae-decoded.png", "--json").document
    assert document["pixels_sha256"] == PIXELS["vae-decoded.png"]
    assert document["record"]["decoded"]["latents"] == "encoded.latents.safetensors"
    document = run("inspect", "early.png", "--json").document
    assert (document["record"], document["pixels_sha256"]) == (None, PIXELS["early.png"])


EVERY = [1, 2, 3, 4]
LATENTS = {
    "plain": {"xt": [0, *EVERY], "x0": EVERY, "eps": EVERY},
    "options": {"xt": [2, 4, 5], "x0": [2, 4], "eps": []},
    "tiny": {"xt": [4], "x0": [], "eps": []},
    "ancestral": {"xt": [0, *EVERY], "x0": EVERY, "eps": EVERY},
    "resumed": {"xt": [4], "x0": [], "eps": []},
    "encoded": {"xt": [0], "x0": [], "eps": []},
}


@pytest.mark.parametrize("name", LATENTS)
def test_latents_tell_what_is_there(run: Run, images: Path, name: str) -> None:
    document = run("inspect", f"{name}.latents.safetensors", "--json").document
    assert document["steps"] == LATENTS[name]
    assert document["num_steps"] == {"options": 5, "encoded": 0}.get(name, 4)
    assert Path(document["image"]).stem == ("plain" if name == "encoded" else name)


def test_images_of_one_are_replayed_to_the_bit(run: Run, images: Path) -> None:
    ran = run("replay", *EXACT, "--check", "--json")
    verdicts = {check["path"]: check["verdict"] for check in ran.document["checks"]}
    assert verdicts == dict.fromkeys(EXACT, "identical")
    assert ran.code == 0


def test_a_lora_in_a_prompt_was_words_and_still_is(run: Run, images: Path) -> None:
    prompt = "a cat <lora:style:1>"
    with Image.open("plain.png") as image:
        record = json.loads(image.text["sdcli"])
        record["request"]["prompt"] = prompt
        text = PngInfo()
        text.add_itxt("sdcli", json.dumps(record))
        image.save("tagged.png", pnginfo=text)
    ran = run("replay", "tagged.png", "-o", "again.png")
    assert (ran.code, "loads nothing" in ran.stderr) == (0, True)
    request = run("inspect", "again.png", "--json").document["record"]["request"]
    assert (request["prompt"], request["lora"]) == (prompt, None)


def test_images_of_a_batch_are_replayed_to_rounding(run: Run, images: Path) -> None:
    ran = run("replay", *BATCHED, "--check", "--json")
    checks = ran.document["checks"]
    assert [check["path"] for check in checks] == list(BATCHED)
    assert {check["verdict"] for check in checks} <= {"identical", "close"}
    assert max(check["max_difference"] for check in checks) <= 1
    assert ran.code == 0


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("resumed.png", "replay.resumed"),
        ("vae-decoded.png", "record.no_request"),
        ("early.png", "replay.no_record"),
    ],
)
def test_what_no_run_made_alone_is_not_replayed(
    run: Run, images: Path, name: str, code: str
) -> None:
    ran = run("replay", name, "--check", "--json")
    assert (ran.code, ran.document["error"]["code"]) == (2, code)


@pytest.mark.parametrize("step", [0, 1, 3])
@pytest.mark.parametrize("name", ["plain", "ancestral"])
def test_latents_resume_to_the_bit(run: Run, images: Path, name: str, step: int) -> None:
    argv = ("latents", "resume", f"{name}.latents.safetensors", "--from-step", str(step))
    assert run(*argv, "-o", "again.png").code == 0
    assert pixels("again.png") == PIXELS[f"{name}.png"]


def test_latents_resume_with_another_prompt_to_the_bit(run: Run, images: Path) -> None:
    argv = ("latents", "resume", "plain.png", "--from-step", "2", "--prompt", OTHER)
    assert run(*argv, "-o", "again.png").code == 0
    assert pixels("again.png") == PIXELS["resumed.png"]


@pytest.mark.parametrize("command", ["latents", "vae"])
@pytest.mark.parametrize("name", ["plain.png", "tiny.webp", "ancestral.png"])
def test_latents_decode_to_the_bit(run: Run, images: Path, name: str, command: str) -> None:
    latents = f"{Path(name).stem}.latents.safetensors"
    assert run(command, "decode", latents, "-o", "again.png").code == 0
    assert pixels("again.png") == PIXELS[name]


def test_latents_of_a_resumed_run_decode_to_the_bit(run: Run, images: Path) -> None:
    latents = "resumed.latents.safetensors"
    assert run("latents", "decode", latents, "-o", "again.png").code == 0
    assert pixels("again.png") == PIXELS["resumed.png"]
    assert run("vae", "decode", latents, "--no-metadata", "-o", "bare.png").code == 0
    assert pixels("bare.png") == PIXELS["resumed.png"]


def test_an_early_step_decodes_with_another_vae_to_the_bit(run: Run, images: Path) -> None:
    argv = ("latents", "decode", "ancestral.png", "--steps", "2", "--kind", "x0", "--vae", "tiny")
    assert run(*argv, "-o", "again.png").code == 0
    assert pixels("again.png") == PIXELS["early.png"]


def test_an_image_is_encoded_and_its_latents_decode_to_the_bit(run: Run, images: Path) -> None:
    again = "again.latents.safetensors"
    assert run("vae", "encode", "plain.png", "--sample", "--seed", "12", "-o", again).code == 0
    then, now = (load_file(path)["final"] for path in ("encoded.latents.safetensors", again))
    assert then.tobytes() == now.tobytes()
    assert run("vae", "decode", "encoded.latents.safetensors", "-o", "again.png").code == 0
    assert pixels("again.png") == PIXELS["vae-decoded.png"]


def test_a_plan_knows_what_a_killed_batch_had_done(run: Run, out: Path) -> None:
    document = run(*BATCH, "--dry-run", "--json").document
    assert [job["done"] for job in document["jobs"]] == [True, True, False, False, False]
    assert (document["images"], document["done"]) == (5, 2)
    assert document["timed_images"] > 0


def test_a_killed_batch_goes_on(run: Run, out: Path) -> None:
    """The journal's entropy gives the fifth image its seed, and so its name and its pixels."""
    before = content(out)
    journal = before.pop("sdcli-journal.jsonl")
    times = {name: (out / name).stat().st_mtime_ns for name in before}
    ran = run(*BATCH, "--json")
    assert ran.code == 0, ran.stderr
    assert (ran.document["made"], ran.document["skipped"]) == (3, 2)
    assert {path.name: pixels(path) for path in out.glob("*.png")} == EXPECTED["batch"]

    after = content(out)
    assert after.pop("sdcli-journal.jsonl").startswith(journal)
    assert {name: after[name] for name in before} == before
    assert {name: (out / name).stat().st_mtime_ns for name in before} == times
    assert not (out / ".sdcli-claims").exists()

    ran = run(*BATCH, "--json")
    assert (ran.code, ran.document["made"], ran.document["skipped"]) == (0, 0, 5)


@pytest.mark.parametrize(
    ("profile", "steps", "scheduler"), [((), 5, "DPM++ 2M"), (("--profile", "draft"), 2, "Euler a")]
)
def test_settings_are_defaults(
    run: Run, settings: Path, profile: tuple[str, ...], steps: int, scheduler: str
) -> None:
    plan = (*profile, "batch", "prompts.txt", "--dry-run", "--json")
    [job] = run(*plan).document["jobs"]
    assert (job["num_inference_steps"], job["scheduler"]) == (steps, scheduler)
    assert (job["width"], job["height"]) == (64, 72)
    assert (job["guidance_scale"], job["negative_prompt"]) == (2.5, "a dog")
    [job] = run(*plan, "--steps", "3").document["jobs"]
    assert (job["num_inference_steps"], job["guidance_scale"]) == (3, 2.5)


def test_settings_are_told_with_their_sources(run: Run, settings: Path) -> None:
    told = run("--profile", "draft", "doctor", "--json").document["settings"]
    assert [(s["source"], s["command"], s["option"], s["value"]) for s in told] == [
        ("sdcli.toml", None, "steps", 5),
        ("sdcli.toml", None, "size", "64x72"),
        ("sdcli.toml", None, "guidance", 2.5),
        ("sdcli.toml [batch]", "batch", "negative", "a dog"),
        ("sdcli.toml [batch]", "batch", "batch_size", 1),
        ("sdcli.toml [latents resume]", "latents resume", "sidecar", True),
        ("sdcli.toml [profile.draft]", None, "steps", 2),
        ("sdcli.toml [profile.draft] [batch]", "batch", "scheduler", "Euler a"),
    ]


def test_settings_hold_for_a_command_of_a_group(
    run: Run, images: Path, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own table asks for a sidecar; what is typed wins over the rest of the file."""
    argv = ("latents", "resume", str(images / "plain.png"), "--from-step", "2")
    assert run(*argv, "--steps", "4", "--guidance", "3", "-o", "again.png").code == 0
    assert pixels("again.png") == PIXELS["plain.png"]
    assert json.loads(Path("again.json").read_text("utf-8"))["pixels"]["width"] == 64
