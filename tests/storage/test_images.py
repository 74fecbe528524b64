"""Test that images are written whole, and that their records are read back."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from sdcli.errors import CorruptError, OutputError, UsageError
from sdcli.request import GenerationRequest
from sdcli.storage.images.codec import encode_image, read_image_info
from sdcli.storage.images.destination import parse_destination
from sdcli.storage.images.writer import write_image
from sdcli.storage.metadata import record
from sdcli.storage.metadata.a1111_parameters import format_parameters
from tests.jobs import make_result

VERSIONS = {"sdcli": "0.1.0", "diffusers": "0.42.1"}
PROMPTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=300)
NUMBERS = st.integers(0, 2**63 - 1)


def write(out: Path | str, *, several: bool = False, force: bool = False, **changes: object) -> str:
    destination = parse_destination(str(out), several=several, force=force)
    return write_image(make_result(**changes), destination, versions=VERSIONS).path


def test_a_folder_gets_numbered_names_with_words_and_seed(tmp_path: Path) -> None:
    first = write(tmp_path / "out", prompt="A cat, and a GUITAR!", seed=3)
    second = write(tmp_path / "out", prompt="", seed=4)
    assert first == str(tmp_path / "out" / "0001-a-cat-and-a-guitar-3.png")
    assert second == str(tmp_path / "out" / "0002-image-4.png")


@pytest.mark.parametrize("suffix", [".png", ".webp", ".jpg", ".JPEG"])
def test_the_suffix_is_the_format_and_the_record_comes_back(tmp_path: Path, suffix: str) -> None:
    result = make_result(prompt="çirkin kedi, 猫 🐱", negative_prompt="dog: bad")
    destination = parse_destination(str(tmp_path / f"cat{suffix}"), several=False, force=False)
    written = write_image(result, destination, versions=VERSIONS)
    found = read_image_info(written.path)
    assert found["record"] == record.make_record(result, VERSIONS)
    assert found["parameters"] == format_parameters(found["record"])
    assert (found["width"], found["height"]) == (64, 64)
    if suffix in (".png", ".webp"):
        assert found["pixels_sha256"] == found["record"]["pixels"]["sha256"]


def test_the_same_result_is_the_same_bytes(tmp_path: Path) -> None:
    paths = [write(tmp_path / name) for name in ("a.png", "b.png")]
    assert Path(paths[0]).read_bytes() == Path(paths[1]).read_bytes()


def test_several_images_number_the_file_name(tmp_path: Path) -> None:
    paths = [write(tmp_path / "cat.webp", several=True) for _ in range(2)]
    assert [Path(path).name for path in paths] == ["cat-0001.webp", "cat-0002.webp"]


def test_no_metadata_is_written_when_it_is_turned_off(tmp_path: Path) -> None:
    for suffix in (".png", ".jpg", ".webp"):
        destination = parse_destination(str(tmp_path / f"a{suffix}"), several=False, force=False)
        path = write_image(make_result(), destination, versions={}, metadata=False).path
        found = read_image_info(path)
        assert (found["record"], found["parameters"]) == (None, None)


def test_stdout_gets_the_bytes(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert write("-") == "-"
    assert Image.open(io.BytesIO(capfdbinary.readouterr().out)).size == (64, 64)


def test_a_full_stdout_is_an_output_error(monkeypatch: pytest.MonkeyPatch) -> None:
    full = open("/dev/full", "w")  # noqa: SIM115 - closing it fails, as it should
    monkeypatch.setattr(sys, "stdout", full)
    with pytest.raises(OutputError) as caught:
        write("-")
    assert caught.value.code == "output.full"
    with suppress(OSError):
        full.close()


def test_a_record_too_long_for_jpeg_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="record") as caught:
        write(tmp_path / "a.jpg", prompt="é" * 16_000)
    assert "png" in (caught.value.hint or "")
    assert os.listdir(tmp_path) == []


@settings(max_examples=60, deadline=None)
@given(prompt=PROMPTS, negative=PROMPTS, seed=NUMBERS)
@example(prompt="a\nNegative prompt: b\nSteps: 3", negative="\x1b[31m", seed=0)
def test_every_prompt_survives_a_png(prompt: str, negative: str, seed: int) -> None:
    result = make_result(prompt=prompt, negative_prompt=negative, seed=seed, width=8, height=8)
    facts = record.make_record(result, VERSIONS)
    with Image.open(io.BytesIO(encode_image(result.pixels, ".png", facts))) as image:
        assert image.text["sdcli"] == record.record_json(facts)  # type: ignore[attr-defined]
        assert np.array_equal(np.asarray(image), result.pixels)
    request = GenerationRequest.from_dict(facts["request"])
    assert (request.prompt, request.negative_prompt or "", request.seed) == (prompt, negative, seed)


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    position=st.integers(0, 10**6), garbage=st.binary(min_size=1, max_size=40), cut=st.booleans()
)
def test_a_damaged_image_is_corrupt_or_still_an_image(
    tmp_path: Path, position: int, garbage: bytes, cut: bool
) -> None:
    whole = encode_image(make_result().pixels, ".png", record.make_record(make_result(), VERSIONS))
    position %= len(whole)
    rest = b"" if cut else whole[position + len(garbage) :]
    path = tmp_path / "damaged.png"
    path.write_bytes(whole[:position] + garbage + rest)
    with suppress(CorruptError):  # anything else would be a bug
        assert read_image_info(path)["width"] >= 1


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"])
def test_files_that_are_not_images_are_corrupt(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(CorruptError) as caught:
        read_image_info(path)
    assert caught.value.exit_code == 7


def test_a_broken_record_is_corrupt_and_a_missing_file_is_usage(tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    for text in ("{", "[]", '{"request": 1}', "[" * 100_000):
        info = PngInfo()
        info.add_itxt("sdcli", text)
        Image.new("RGB", (8, 8)).save(tmp_path / "a.png", pnginfo=info)
        with pytest.raises(CorruptError, match="record"):
            read_image_info(tmp_path / "a.png")
    with pytest.raises(UsageError):
        read_image_info(tmp_path / "none.png")
