"""The images and captions that a LoRA is trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdcli.storage.images.fitting import scale
from sdcli.workflows.train_lora.dataset import Dataset, find_captioned, read_dataset
from sdcli.workflows.train_lora.loss import ends, smooth


def write_image(path: Path, size: tuple[int, int] = (64, 64), seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def read(folder: Path, **options: object) -> tuple[Dataset, list[str]]:
    warnings: list[str] = []
    captioned = find_captioned(folder, "a thing")
    arguments = {"trigger": None, "resolution": 64, "warn": warnings.append, **options}
    return read_dataset(folder, captioned, **arguments), warnings


TABLES = {
    "metadata.jsonl": '{"file_name": "a.png", "text": "one"}\n\n'
    '{"file": "sub/b.png", "caption": "two\\nlines"}\n',
    "metadata.csv": "file_name,text\na.png,one\nsub/b.png,two lines\n",
    "captions.csv": '\ufeffimage,prompt\r\na.png,one\r\nsub/b.png,"two\nlines"\r\n',
}


def test_a_spreadsheet_may_separate_by_semicolons(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    (tmp_path / "captions.csv").write_text("file;text\na.png;one, two\n")
    assert [caption for _, caption in find_captioned(tmp_path, None)] == ["one, two"]


@pytest.mark.parametrize("name", TABLES)
def test_a_table_has_the_captions_of_images(tmp_path: Path, name: str) -> None:
    for image in ("a.png", "sub/b.png", "c.png"):
        write_image(tmp_path / image)
    (tmp_path / name).write_text(TABLES[name], encoding="utf-8", newline="")
    found = {path.name: caption for path, caption in find_captioned(tmp_path, "rest")}
    assert found == {"a.png": "one", "b.png": "two lines", "c.png": "rest"}


def test_a_text_file_next_to_the_image_comes_first(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("mine\n")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "table"}')
    assert [caption for _, caption in find_captioned(tmp_path, None)] == ["mine"]


def test_the_trigger_is_in_every_caption_once(tmp_path: Path) -> None:
    for name, caption in (("a", "a zorb in the snow"), ("b", "the snow")):
        write_image(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_text(caption)
    dataset, _ = read(tmp_path, trigger="zorb")
    assert [image.caption for image in dataset.images] == ["a zorb in the snow", "zorb, the snow"]


@pytest.mark.parametrize("size", [(64, 64), (70, 66), (128, 64), (64, 200), (200, 150), (30, 50)])
def test_the_crop_is_the_middle_of_the_scaled_image(tmp_path: Path, size: tuple[int, int]) -> None:
    """The corner that Stable Diffusion XL is told is the one that the pixels are from."""
    path = write_image(tmp_path / "a.png", size)
    dataset, _ = read(tmp_path)
    [image] = dataset.images
    assert image.original_size == size
    assert image.pixels.shape == (64, 64, 3)
    pixels, (left, top) = np.asarray(Image.open(path)), image.crop
    if size != (70, 66):  # is only cut, by less than a cell of latents
        factor = 64 / min(size)
        pixels = scale(pixels, *(max(1, round(side * factor)) for side in size))
    assert np.array_equal(image.pixels, pixels[top : top + 64, left : left + 64])


def test_what_is_lost_or_unused_is_said(tmp_path: Path) -> None:
    write_image(tmp_path / "wide.png", (130, 65))
    write_image(tmp_path / "small.png", (32, 32))
    (tmp_path / "photo.txt").write_text("of photo.heic")
    _, warnings = read(tmp_path)
    assert warnings == [
        "1 of 2 images are smaller than 64x64 and are enlarged: small.png",
        "1 of 2 images are not square; only the middle is used: wide.png",
        "1 captions have no image: photo.txt",
    ]


def test_the_hash_is_that_of_pixels_and_captions(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    first = read(tmp_path)[0].sha256
    (tmp_path / "a.png").rename(tmp_path / "b.png")
    assert read(tmp_path)[0].sha256 == first
    assert read(tmp_path, trigger="zorb")[0].sha256 != first
    write_image(tmp_path / "b.png", seed=1)
    assert read(tmp_path)[0].sha256 != first


@pytest.mark.parametrize("count", [1, 2, 9, 60, 61, 1000])
def test_losses_are_summarised_without_losing_any(count: int) -> None:
    losses = [float(i) for i in range(1, count + 1)]
    points = smooth(losses)
    assert len(points) <= 60
    assert points[-1][0] == count
    sizes = np.diff([0, *(step for step, _ in points)])
    assert np.average([loss for _, loss in points], weights=sizes) == pytest.approx(np.mean(losses))
    first, last, steps = ends(losses)
    assert steps == max(1, count // 10)
    assert (first, last) == (np.mean(losses[:steps]), np.mean(losses[-steps:]))
