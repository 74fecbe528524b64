"""Input images and masks: described, fitted, grown, and put back."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sdcli.checkpoints.file_hashes import sha256
from sdcli.errors import CorruptError, UsageError
from sdcli.fields.image import Margins
from sdcli.job import Job
from sdcli.storage.images.fitting import extend, extend_mask, fit, scale
from sdcli.storage.images.input_files import describe_input
from sdcli.storage.images.masks import area_around, grow_to_cells, soften
from sdcli.storage.images.prepared_input import PreparedInput, prepare_input
from tests.image_files import pixels_of
from tests.jobs import make_job

sides = st.integers(1, 60)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(path)
    return path


class TestDescribe:
    def test_hash_and_size_are_those_of_the_file(self, tmp_path: Path) -> None:
        file = write(tmp_path / "a.png", noise(30, 20))
        image = describe_input(str(file))
        assert (image.width, image.height) == (20, 30)
        assert image.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()

    def test_a_photo_on_its_side_is_described_as_it_is_shown(self, tmp_path: Path) -> None:
        file = tmp_path / "a.jpg"
        exif = Image.Exif()
        exif[274] = 6
        Image.fromarray(noise(30, 20)).save(file, exif=exif)
        image = describe_input(str(file))
        assert (image.width, image.height) == (30, 20)
        job = job_of(file, width=24, height=16)
        assert prepare_input(job, 8).pixels.image.shape == (16, 24, 3)

    def test_the_limit_is_not_that_of_an_earlier_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = write(tmp_path / "a.png", noise(30, 20))
        describe_input(str(file))
        monkeypatch.setenv("SDCLI_MAX_PIXELS", "599")
        with pytest.raises(UsageError, match="exceed the limit of 599"):
            describe_input(str(file))

    def test_a_changed_file_is_read_again(self, tmp_path: Path) -> None:
        file = write(tmp_path / "a.png", noise(8, 8))
        before = describe_input(str(file))
        assert describe_input(str(file)) == before
        write(file, noise(8, 8, seed=1))
        assert describe_input(str(file)).sha256 != before.sha256
        write(file, noise(16, 8))
        now = describe_input(str(file))
        assert sorted((now.width, now.height)) == [8, 16]

    def test_a_file_that_is_named_like_a_hash_is_hashed(self, tmp_path: Path) -> None:
        file = write(tmp_path / "a.png", noise(8, 8))
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        assert describe_input(str(file.rename(tmp_path / ("0" * 64)))).sha256 == digest

    def test_errors(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="no file"):
            describe_input(str(tmp_path / "missing.png"))
        with pytest.raises(UsageError, match="a folder"):
            describe_input(str(tmp_path))
        (tmp_path / "text.png").write_text("text")
        with pytest.raises(CorruptError, match="not a readable image"):
            describe_input(str(tmp_path / "text.png"))


class TestFit:
    @given(sides, sides, st.integers(1, 7), st.integers(1, 7), st.sampled_from(["crop", "pad"]))
    def test_the_result_has_the_size(
        self, width: int, height: int, columns: int, rows: int, mode: str
    ) -> None:
        for pixels in (noise(height, width), noise(height, width)[..., 0]):
            for how in (mode, "stretch"):
                fitted = fit(pixels, columns * 8, rows * 8, how, 8)
                assert fitted.shape[:2] == (rows * 8, columns * 8)

    @pytest.mark.parametrize("mode", ["crop", "stretch", "pad"])
    def test_a_rest_of_a_cell_is_cut_and_no_pixel_changes(self, mode: str) -> None:
        pixels = noise(39, 47)
        assert np.array_equal(fit(pixels, 40, 32, mode, 8), pixels[:32, :40])

    def test_crop_keeps_the_middle_and_pad_keeps_all(self) -> None:
        pixels = np.zeros((32, 64, 3), np.uint8)
        pixels[:, 16:48] = 200
        assert (fit(pixels, 32, 32, "crop", 8) == 200).all()
        padded = fit(pixels, 64, 64, "pad", 8)
        assert np.array_equal(padded[16:48], pixels)
        assert np.array_equal(padded[0], pixels[0])

    def test_a_scaled_mask_stays_black_beside_its_edge(self) -> None:
        mask = np.zeros((64, 64), np.uint8)
        mask[:, :32] = 255
        assert not scale(mask, 128, 128)[:, 68:].any()

    def test_margins(self) -> None:
        pixels = noise(4, 5)
        margins = Margins.parse("left=9, top=1,bottom=2")
        extended = extend(pixels, margins)
        assert extended.shape == (7, 14, 3)
        assert np.array_equal(extended[1:5, 9:], pixels)
        assert np.array_equal(extended[1:5, 8], pixels[:, 0])
        mask = extend_mask(np.zeros((4, 5), np.uint8), margins)
        assert not mask[1:5, 9:].any()
        assert (mask == 255).sum() == 7 * 14 - 4 * 5


class TestMasks:
    @given(st.integers(0, 40), st.integers(20, 60))
    def test_a_soft_edge_reaches_its_radius_and_no_further(self, radius: int, edge: int) -> None:
        mask = np.zeros((8, 128), np.uint8)
        mask[:, :edge] = 255
        soft = soften(mask, radius)
        assert not soft[:, edge + radius :].any()
        assert (soft[:, : max(edge - radius, 0)] == 255).all()
        if radius:
            assert 0 < soft[0, edge] < 255

    def test_a_mask_grows_to_every_cell_it_touches(self) -> None:
        mask = np.zeros((24, 32), np.uint8)
        mask[7, 8] = 1
        grown = grow_to_cells(mask, 8)
        assert grown[:8, 8:16].all()
        assert grown.sum() == 64

    @given(st.data())
    def test_the_area_holds_the_mask_and_lies_in_the_image(self, data: Any) -> None:
        height, width = data.draw(sides), data.draw(sides)
        mask = np.zeros((height, width), np.uint8)
        y, x = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
        mask[y, x] = 9
        box = area_around(mask, data.draw(st.integers(0, 20)), 64, data.draw(st.integers(8, 99)))
        assert 0 <= box.left <= x < box.right <= width
        assert 0 <= box.top <= y < box.bottom <= height

    def test_the_area_has_the_proportions_of_the_size(self) -> None:
        mask = np.zeros((100, 200), np.uint8)
        mask[50:60, 0:40] = 255
        assert area_around(mask, 5, 64, 64) == (0, 33, 45, 78)
        assert area_around(mask, 500, 64, 64) == (0, 0, 200, 100)


def job_of(image: Path, mask: Path | None = None, **changes: Any) -> Job:
    fields: dict[str, Any] = {"image": str(image), "image_sha256": sha256(image)}
    if mask:
        fields |= {"mask": str(mask), "mask_sha256": sha256(mask)}
    return make_job(**{**fields, **changes})


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return write(tmp_path / "in.png", noise(64, 64))


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[10:30, 5:21] = 255
    return write(tmp_path / "mask.png", pixels)


DRAWN = np.full((64, 64, 3), 7, np.uint8)


class TestPrepared:
    def test_without_a_mask_all_is_drawn(self, image: Path) -> None:
        prepared = prepare_input(job_of(image), 8)
        assert np.array_equal(prepared.pixels.image, pixels_of(image))
        assert prepared.pixels.mask is None
        assert np.array_equal(prepared.insert(DRAWN, keep_unmasked=True), DRAWN)

    def test_pixels_outside_the_mask_are_kept(self, image: Path, mask: Path) -> None:
        prepared = prepare_input(job_of(image, mask), 8)
        white = pixels_of(mask)[..., 0] == 255
        cells = prepared.pixels.mask
        assert cells is not None
        assert cells[white].all()
        assert not cells[32:].any()
        result = prepared.insert(DRAWN, keep_unmasked=True)
        assert (result[white] == 7).all()
        assert np.array_equal(result[~white], pixels_of(image)[~white])
        assert (prepared.insert(DRAWN, keep_unmasked=False) == 7).all()

    def test_an_inverted_mask_keeps_the_other_part(self, image: Path, mask: Path) -> None:
        prepared = prepare_input(job_of(image, mask, mask_invert=True), 8)
        white = pixels_of(mask)[..., 0] == 255
        result = prepared.insert(DRAWN, keep_unmasked=True)
        assert np.array_equal(result[white], pixels_of(image)[white])
        assert (result[~white] == 7).all()

    def test_a_soft_edge_blends_and_keeps_what_is_further(self, image: Path, mask: Path) -> None:
        prepared = prepare_input(job_of(image, mask, mask_blur=4), 8)
        source, result = pixels_of(image), prepared.insert(DRAWN, keep_unmasked=True)
        assert np.array_equal(result[:, 25:], source[:, 25:])
        assert np.array_equal(result[34:], source[34:])
        assert not np.array_equal(result[10:30, 21:25], source[10:30, 21:25])

    def test_a_black_mask_is_refused(self, image: Path, tmp_path: Path) -> None:
        black = write(tmp_path / "black.png", np.zeros((64, 64, 3), np.uint8))
        with pytest.raises(UsageError, match="black all over"):
            prepare_input(job_of(image, black), 8)

    def test_a_mask_of_another_size_is_scaled_and_noted(self, image: Path, tmp_path: Path) -> None:
        small = np.zeros((32, 32, 3), np.uint8)
        small[:16] = 255
        prepared = prepare_input(job_of(image, write(tmp_path / "small.png", small)), 8)
        assert any("scaled from 32x32 to the image's 64x64" in note for note in prepared.notes)
        result = prepared.insert(DRAWN, keep_unmasked=True)
        assert np.array_equal(result[40:], pixels_of(image)[40:])

    def test_margins_are_drawn_and_the_image_kept(self, image: Path) -> None:
        job = job_of(image, outpaint="left=32,top=8", width=96, height=72)
        prepared = prepare_input(job, 8)
        result = prepared.insert(np.full((72, 96, 3), 7, np.uint8), keep_unmasked=True)
        assert np.array_equal(result[8:, 32:], pixels_of(image))
        assert (result[:8] == 7).all()
        assert (result[:, :32] == 7).all()

    def test_only_the_area_around_the_mask_is_drawn(self, tmp_path: Path) -> None:
        source = write(tmp_path / "large.png", noise(301, 203))
        pixels = np.zeros((301, 203, 3), np.uint8)
        pixels[100:140, 50:90] = 255
        mask = write(tmp_path / "m.png", pixels)
        job = job_of(source, mask, inpaint_area="mask", inpaint_padding=10)
        prepared = prepare_input(job, 8)
        assert prepared.box == (40, 90, 100, 150)
        assert prepared.pixels.image.shape == (64, 64, 3)
        result = prepared.insert(DRAWN, keep_unmasked=True)
        white = pixels[..., 0] == 255
        assert result.shape == (301, 203, 3)
        assert (result[white] == 7).all()
        assert np.array_equal(result[~white], pixels_of(source)[~white])
        open_area = prepared.insert(DRAWN, keep_unmasked=False)
        assert (open_area[90:150, 40:100] == 7).all()

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
    def test_every_mode_of_an_image_is_read(self, tmp_path: Path, mode: str) -> None:
        file = tmp_path / ("in.tif" if mode == "CMYK" else "in.png")
        picture = Image.fromarray(noise(64, 64))
        if mode == "I;16":
            wide = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) * 16
            picture = Image.fromarray(wide)
        else:
            picture = picture.convert("L").convert(mode) if mode == "LA" else picture.convert(mode)
        picture.save(file)
        prepared = prepare_input(job_of(file), 8)
        assert prepared.pixels.image.shape == (64, 64, 3)

    def test_a_file_that_changed_since_planning_is_refused(self, image: Path) -> None:
        job = job_of(image)
        write(image, noise(64, 64, seed=5))
        with pytest.raises(UsageError, match="has changed since the run began"):
            prepare_input(job, 8)

    @pytest.mark.parametrize(
        ("size", "changes", "note"),
        [
            ((64, 64), {}, None),
            ((67, 70), {}, "cut from 67x70 to 64x64, multiples of 8"),
            ((128, 128), {}, None),
            ((128, 96), {}, "scaled and cropped from 128x96 to 64x64"),
            ((128, 96), {"resize": "stretch"}, "stretched from 128x96 to 64x64"),
            ((128, 96), {"resize": "pad"}, "scaled and padded from 128x96 to 64x64"),
        ],
    )
    def test_what_an_image_loses_is_noted(
        self, tmp_path: Path, size: tuple[int, int], changes: dict[str, Any], note: str | None
    ) -> None:
        width, height = size
        prepared: PreparedInput = prepare_input(
            job_of(write(tmp_path / "a.png", noise(height, width)), **changes), 8
        )
        assert prepared.pixels.image.shape == (64, 64, 3)
        assert [n for n in prepared.notes if note is None or note not in n] == []
        assert bool(prepared.notes) is (note is not None)
