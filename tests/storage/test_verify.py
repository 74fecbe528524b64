"""Test the verdicts on regenerated images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdcli.result import GenerationResult
from sdcli.storage.images.codec import encode_image, read_image_info
from sdcli.storage.images.verify import environment_changes, verify_image
from sdcli.storage.metadata.record import make_record
from tests.jobs import make_result

VERSIONS = {"sdcli": "1", "torch": "2"}


def check(path: Path, image: GenerationResult, regenerated: GenerationResult) -> dict[str, Any]:
    path.write_bytes(encode_image(image.pixels, path.suffix, make_record(image, VERSIONS)))
    return verify_image(path, read_image_info(path), regenerated, VERSIONS)


def changed(result: GenerationResult, amount: int, values: int) -> GenerationResult:
    """The result with the first values moved by an amount, without wrapping around."""
    pixels = result.pixels.copy()
    flat = pixels.reshape(-1)[:values]
    flat[:] = np.where(flat < 128, flat + amount, flat - amount)
    return make_result(pixels=pixels)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".jpg"])
def test_equal_pixels_are_identical_in_every_format(tmp_path: Path, suffix: str) -> None:
    result = check(tmp_path / f"a{suffix}", make_result(), make_result())
    assert (result["verdict"], result["psnr"], result["max_difference"]) == ("identical", None, 0)
    assert (result["altered"], result["differences"]) == (False, {})


def test_rounding_is_close_and_another_image_is_different(tmp_path: Path) -> None:
    image = make_result()
    close = check(tmp_path / "a.png", image, changed(image, 1, 100))
    assert (close["verdict"], close["max_difference"]) == ("close", 1)
    assert 0 < close["moved"] < 0.01
    different = check(tmp_path / "b.png", image, make_result(seed=8))
    assert different["verdict"] == "different"
    other_size = check(tmp_path / "c.png", image, make_result(width=32))
    assert (other_size["verdict"], other_size["psnr"]) == ("different", 0.0)


def test_an_edited_file_is_not_close_however_small_the_edit(tmp_path: Path) -> None:
    image, path = make_result(), tmp_path / "a.png"
    edited = changed(image, 1, 1)
    path.write_bytes(encode_image(edited.pixels, ".png", make_record(image, VERSIONS)))
    result = verify_image(path, read_image_info(path), image, VERSIONS)
    assert (result["verdict"], result["altered"]) == ("different", True)
    assert result["psnr"] > 40


def test_changes_of_the_environment_are_listed() -> None:
    result = make_result()
    record = make_record(result, {"sdcli": "0", "diffusers": "3"})
    record |= {"device": "cuda", "weights": {"unet": "0"}, "compiled": True}
    assert environment_changes(record, result, VERSIONS) == {
        "compiled": [True, False],
        "device": ["cuda", "cpu"],
        "version of diffusers": ["3", None],
        "version of sdcli": ["0", "1"],
        "version of torch": [None, "2"],
        "weights of unet": ["0", "ab" * 32],
        "weights of vae": [None, "cd" * 32],
    }
    assert environment_changes({"versions": 3, "weights": []}, result, {})["dtype"] == [
        None,
        "float32",
    ]
