"""Test that replay refuses images that their own records cannot reproduce."""

from __future__ import annotations

import pytest

from sdcli.errors import UsageError
from sdcli.storage.images.codec import read_image_info
from sdcli.workflows.replay import exit_code_of, mismatch_error, parse_overrides, read_images

QUICK = ("--steps", "3", "--seed", "7", "--size", "64x64", "--device", "cpu")
KEEP = ("--save-latents", "all")


@pytest.fixture
def resumed(run_cli) -> str:
    """An image whose first two steps are those of another prompt, with its latents."""
    assert run_cli("generate", "a red star", *QUICK, *KEEP, "-o", "a.png").code == 0
    argv = ("--from-step", "2", "--prompt", "a dog", *KEEP, "-o", "mixed.png")
    assert run_cli("latents", "resume", "a.png", *argv).code == 0
    return "mixed.png"


def test_every_decode_of_resumed_latents_is_refused_with_one_message(run_cli, resumed):
    messages = set()
    for group in ("vae", "latents"):
        out = f"{group}.png"
        assert run_cli(group, "decode", "mixed.latents.safetensors", "-o", out).code == 0
        assert read_image_info(out)["pixels_sha256"] == read_image_info(resumed)["pixels_sha256"]
        ran = run_cli("replay", out, "--check")
        assert ran.code == 2
        messages.add(ran.stderr.replace(out, "IMAGE"))
    [message] = messages
    assert "steps up to 2 are those of a.latents.safetensors" in message
    assert "sdcli latents resume" in message


def test_only_the_new_events_of_a_decode_are_warned_of(run_cli, resumed):
    ran = run_cli("vae", "decode", "mixed.latents.safetensors", "-o", "again.png", "--json")
    assert ran.document["images"][0]["events"] == []
    assert ran.stderr == ""


def test_an_image_without_a_record_is_refused_with_a_way_out(tmp_path):
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("parameters", "a cat\nSteps: 20, Sampler: Euler, Seed: 5, CFG scale: 7")
    path = tmp_path / "foreign.png"
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    with pytest.raises(UsageError, match="A1111 made it") as caught:
        read_images([str(path)], ())
    assert "--as-command" in (caught.value.hint or "")
    Image.new("RGB", (8, 8)).save(path)
    with pytest.raises(UsageError, match="has no record"):
        read_images([str(path)], ())


def test_overrides_use_the_names_of_prompt_files():
    assert parse_overrides(["steps=40", "CFG=2.5", "size=64x96"]) == {
        "num_inference_steps": 40,
        "guidance_scale": 2.5,
        "width": 64,
        "height": 96,
    }
    for text in ("steps", "size=64", "nothing=3"):
        with pytest.raises(UsageError):
            parse_overrides([text])


def test_only_a_different_image_is_an_error():
    check = {"path": "a.png", "verdict": "close", "psnr": 50.0, "differences": {}}
    assert (exit_code_of([check]), mismatch_error(check)) == (0, None)
    check |= {"verdict": "different"}
    error = mismatch_error(check)
    assert error
    assert exit_code_of([check]) == error.exit_code == 10
    assert error.hint is None
