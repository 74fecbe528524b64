"""Test that images are judged by their headers, and that records need no pixels."""

from __future__ import annotations

import json
import threading
import zlib
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from sdcli.errors import CorruptError, UsageError
from sdcli.storage.images.embedded_text import read_embedded_text
from sdcli.storage.images.input_files import describe_input
from sdcli.storage.images.opening import open_header, open_image
from sdcli.storage.images.pixel_limit import DEFAULT_MAX_PIXELS, VARIABLE, max_pixels
from sdcli.storage.images.pixels import read_pixels
from tests.storage.png_files import chunk, write_png

RECORD = {"schema": "sdcli/record/1", "request": {"prompt": "a cat", "seed": 5}}


def blank(width: int, height: int) -> bytes:
    return zlib.compress(bytes((width // 8 + 1) * height))


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A picture of 16,000 x 12,000 pixels with a record, as a whole file."""
    text = b"sdcli\0" + json.dumps(RECORD).encode()
    return write_png(tmp_path / "a.png", 16000, 12000, data=blank(16000, 12000), text=text)


def test_a_large_picture_s_record_is_read_without_its_pixels(
    run_cli, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(image: object) -> None:
        raise AssertionError("the pixels are decoded")

    monkeypatch.setattr(PngImageFile, "load", refuse)
    with pytest.raises(UsageError, match="16000x12000 pixels exceed the limit"):
        describe_input(str(large))
    document = run_cli("inspect", str(large), "--json").document
    assert document["record"]["request"] == RECORD["request"]
    assert (document["width"], document["height"]) == (16000, 12000)
    assert document["pixels_sha256"] is None
    ran = run_cli("inspect", str(large))
    assert (ran.code, "a cat" in ran.stdout) == (0, True)
    assert "not computed: too many pixels (see SDCLI_MAX_PIXELS)" in " ".join(ran.stdout.split())
    ran = run_cli("inspect", str(large), "--as-command")
    assert (ran.code, ran.stdout) == (0, "sdcli generate --seed=5 --prompt-syntax=plain 'a cat'\n")


def test_too_many_pixels_are_a_limit_and_no_damage(run_cli, large: Path) -> None:
    for argv in (("vae", "encode"), ("vae", "compare")):
        ran = run_cli(*argv, str(large), "-o", "out")
        assert ran.code == 2
        assert "16000x12000 pixels exceed the limit of 67108864" in ran.stderr
        assert "SDCLI_MAX_PIXELS=192000000" in ran.stderr
        assert "damaged" not in ran.stderr


@pytest.mark.parametrize("reader", [read_pixels, lambda path: open_image(path).__enter__()])
def test_the_limit_is_checked_before_the_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader
) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (20, 10), "red").save(path)
    monkeypatch.setenv(VARIABLE, "199")
    with pytest.raises(UsageError, match="limit of 199"):
        reader(path)
    monkeypatch.setenv(VARIABLE, "200")
    assert read_pixels(path)[0].shape == (10, 20, 3)


def test_the_limit_can_be_raised_over_pillow_s_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    path = tmp_path / "a.png"
    Image.new("RGB", (20, 10), "red").save(path)
    results: list[tuple[int, ...]] = []
    threads = [
        threading.Thread(target=lambda: results.append(read_pixels(path, grid=8)[0].shape))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [(8, 16, 3)] * 4
    assert Image.MAX_IMAGE_PIXELS == 50


@pytest.mark.parametrize("size", [(8, 12_000_000), (60000, 60000), (2**31 - 1, 2**31 - 1)])
def test_a_file_too_short_for_its_pixels_is_damaged(
    run_cli, tmp_path: Path, size: tuple[int, int]
) -> None:
    path = write_png(tmp_path / "a.png", *size, data=zlib.compress(b""))
    for reader in (open_header, open_image):
        with pytest.raises(CorruptError, match="cannot hold"), reader(path):
            pass
    assert run_cli("inspect", str(path)).code == 7
    assert read_embedded_text(path) == {}


def test_no_bytes_of_a_bomb_are_decoded(tmp_path: Path) -> None:
    path = write_png(tmp_path / "a.png", 8, 12_000_000, data=blank(8, 12_000_000))
    with pytest.raises(UsageError, match="exceed the limit"):
        read_pixels(path)


@pytest.mark.parametrize("value", ["0", "-1", "many", "1e9", "9" * 30, "²"])
def test_a_limit_that_is_no_count_is_a_usage_error(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(UsageError, match="not a number of pixels"):
        max_pixels()


def test_the_variable_is_not_taken_for_an_option(run_cli, monkeypatch) -> None:
    assert max_pixels() == DEFAULT_MAX_PIXELS
    monkeypatch.setenv(VARIABLE, "1000")
    assert run_cli("inspect", "embedded").code == 0


def test_too_much_text_is_a_limit_and_no_damage(run_cli, tmp_path: Path) -> None:
    compressed = chunk(b"zTXt", b"parameters\0\0" + zlib.compress(bytes(2**21)))
    many = 70 * chunk(b"zTXt", b"parameters\0\0" + zlib.compress(b"a" * 2**20))
    for texts in (compressed, many):
        path = write_png(tmp_path / "a.png", 8, 8, data=blank(8, 8))
        data = path.read_bytes()
        path.write_bytes(data[:33] + texts + data[33:])
        ran = run_cli("inspect", str(path))
        assert (ran.code, ran.stdout) == (2, "")
        assert "a.png: its texts exceed the limit of 1 MiB" in ran.stderr
        assert "damaged" not in ran.stderr
