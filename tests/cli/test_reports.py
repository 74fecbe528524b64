"""`inspect` and `doctor`, and what a run with failures says of itself."""

from __future__ import annotations

import pytest
from PIL import Image

from sdcli import __version__
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.errors import ExitCode, NumericsError
from sdcli.result import JobFailure
from sdcli.runner import deliver
from sdcli.runner.loop import iter_results


def test_version(run_cli):
    ran = run_cli("--version")
    assert (ran.code, ran.stdout) == (0, f"sdcli {__version__}\n")


@pytest.mark.parametrize("verb", ["generate", "batch", "inspect", "doctor"])
def test_every_verb_has_help_with_examples(run_cli, verb):
    ran = run_cli(verb, "--help")
    assert ran.code == 0
    assert f"    sdcli {verb}" in ran.stdout
    assert max(map(len, ran.stdout.splitlines())) <= 80


def test_completion_is_typers(run_cli, monkeypatch):
    # --show-completion asks which shell started it, and a test may have none.
    monkeypatch.setenv("_SDCLI_COMPLETE", "source_bash")
    assert "_SDCLI_COMPLETE" in run_cli().stdout


def test_inspect_an_image(run_cli):
    run_cli("generate", "a cat", "-s", "euler_k", "--steps", "1", "--seed", "3", "-o", "cat.png")
    ran = run_cli("inspect", "cat.png")
    for line in ("prompt: a cat", "seed: 3", "scheduler: Euler Karras", "size: 128x128"):
        assert line in ran.stdout.splitlines()
    document = run_cli("inspect", "cat.png", "--json").document
    assert document["record"]["request"]["prompt"] == "a cat"
    assert document["record"]["pixels"]["sha256"] == document["pixels_sha256"]


def test_inspect_an_image_of_nobody(run_cli, tmp_path):
    Image.new("RGB", (8, 4)).save(tmp_path / "plain.png")
    assert "record: none in this image" in run_cli("inspect", "plain.png").stdout


def test_inspect_a_broken_image(run_cli, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n")
    ran = run_cli("inspect", "broken.png")
    assert ran.code == ExitCode.CORRUPT
    assert "broken.png" in ran.stderr


def test_inspect_a_model(run_cli):
    ran = run_cli("inspect", str(EMBEDDED_FOLDER))
    assert "width: 128" in ran.stdout
    assert "unet/: UNet2DConditionModel" in ran.stdout
    document = run_cli("inspect", "embedded", "--json").document
    assert document["schema"] == "sdcli/model/1"
    assert {part["name"] for part in document["parts"]} >= {"unet", "vae"}


def test_inspect_neither(run_cli, tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    assert run_cli("inspect", "notes.txt").code == ExitCode.USAGE


def test_doctor(run_cli):
    ran = run_cli("doctor")
    assert ran.code == 0
    assert "guidance_scale" in ran.stdout
    document = run_cli("doctor", "--json").document
    assert document["schema"] == "sdcli/doctor/1"
    assert set(document["optional"]) == {
        "scipy",
        "torchsde",
        "chafa.py",
        "av",
        "ImageHash",
        "opencv-python-headless",
        "openvino",
        "peft",
        "ray",
    }
    assert "cpu" in {device["name"] for device in document["devices"]}
    assert document["embedded"]["present"] is True
    assert document["chosen"]["device_why"]


@pytest.fixture
def failing(monkeypatch):
    """Let jobs with a word in their prompt come to nothing, all others be drawn for true."""
    draw = iter_results

    def outcomes(source, **options):
        for outcome in draw(source, **options):
            if "dog" in outcome.job.prompt:
                error = NumericsError("the UNet gave NaN", code="numerics.unet", hint="try float32")
                yield JobFailure(jobs=(outcome.job,), error=error)
            else:
                yield outcome

    monkeypatch.setattr(deliver, "iter_results", outcomes)


def test_a_failed_job_stops_no_other(run_cli, failing):
    ran = run_cli("generate", "a cat", "a dog", "a fish", "--steps", "1")
    assert ran.code == ExitCode.PARTIAL
    assert len(ran.paths) == 2
    assert all(path.exists() for path in ran.paths)
    assert "sdcli: error: the UNet gave NaN" in ran.stderr


def test_a_run_of_failures_has_their_code(run_cli, failing):
    ran = run_cli("generate", "a dog", "a dog", "--steps", "1", "--json")
    assert ran.code == ExitCode.NUMERICS
    assert [error["code"] for error in ran.document["errors"]] == ["numerics.unet"] * 2


def test_a_lone_failure_is_the_document(run_cli, failing):
    ran = run_cli("generate", "a dog", "--steps", "1", "--json")
    assert ran.document["error"]["code"] == "numerics.unet"
