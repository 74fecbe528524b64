"""Test the workflows that list, compare and encode with VAEs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdcli.errors import UsageError
from sdcli.pipeline_spec import EMBEDDED, PipelineSpec
from sdcli.runner.pipeline_cache import engine_lock
from sdcli.storage.images.destination import parse_destination
from sdcli.storage.latents.reader import read_any_latents_file
from sdcli.workflows.compare_vaes import VaeComparison, similarity, summary_row
from sdcli.workflows.decode_latents import LatentsDecoder
from sdcli.workflows.encode_images import ImageEncoder
from sdcli.workflows.list_vaes import list_vaes
from sdcli.workflows.noise_image import noise_image
from sdcli.workflows.render_latents import vae_renderer


def test_identical_images_have_no_finite_psnr():
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    assert similarity(image, image) == {"identical": True, "psnr": None, "ssim": 1.0}
    assert similarity(image, None) == {"identical": None, "psnr": None, "ssim": None}
    other = similarity(image, 255 - image)
    assert other["identical"] is False
    assert other["psnr"] < 20


def test_images_below_a_window_have_no_ssim():
    image = np.zeros((10, 16, 3), np.uint8)
    assert similarity(image, image)["ssim"] is None


def test_summary_rows_leave_unknown_values_out():
    row = {
        "vae": "tiny", "decode_seconds": 0.25, "encode_seconds": None, "peak_bytes": None,
        "psnr": None, "ssim": None, "identical": None,
    }  # fmt: skip
    assert summary_row(row) == {
        "vae": "tiny", "seconds": "0.250 s", "peak": None, "psnr": None, "ssim": None,
    }  # fmt: skip
    full = row | {"encode_seconds": 1, "peak_bytes": 3e6, "psnr": 30.04, "ssim": 0.5}
    assert list(summary_row(full).values()) == ["tiny", "1.250 s", "3 MB", "30.0 dB", "0.500"]
    assert summary_row(full | {"identical": True})["psnr"] == "identical"


def test_every_listed_vae_has_the_same_keys():
    rows = list_vaes(EMBEDDED)
    assert [row["name"] for row in rows[:2]] == ["own", "tiny"]
    assert all(row["fits"] for row in rows[:2])
    assert len({tuple(row) for row in rows}) == 1


def test_a_cached_vae_is_marked(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert not any("(cached)" in row["where"] for row in list_vaes(EMBEDDED))
    (tmp_path / "models--madebyollin--taesd").mkdir()
    [cached] = [row for row in list_vaes(EMBEDDED) if "(cached)" in row["where"]]
    assert cached["name"] == "taesd"


def test_images_are_encoded_with_one_seed_each(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (16, 16), "orange").save(path)
    options = {"out": str(tmp_path / "out"), "several": True, "force": False, "tiling": "auto"}
    encoder = ImageEncoder(PipelineSpec(device="cpu"), seed=7, **options)
    [[first], [second]] = [list(encoder.encode((i, str(path)))) for i in range(2)]
    assert (first["seed"], second["seed"]) == (7, 8)
    files = [read_any_latents_file(tmp_path / "out" / name) for name in
             ("0001-a.latents.safetensors", "0002-a.latents.safetensors")]  # fmt: skip
    assert [file.encoded["seed"] for file in files] == [7, 8]
    assert not np.array_equal(*(file.final() for file in files))


def test_a_comparison_of_an_image_uses_the_input_as_reference(tmp_path):
    path = tmp_path / "0001-a.png"
    Image.new("RGB", (20, 20), "orange").save(path)
    comparison = VaeComparison(path, ["own", "tiny"], {"device": "cpu"}, "auto", None)
    assert comparison.name == "a-vaes"
    assert comparison.document["reference"] == "input"
    assert [row["vae"] for row in comparison.rows] == ["own", "tiny"]
    assert "cut from 20x20" in comparison.events[0]
    with pytest.raises(UsageError, match="no file"):
        VaeComparison(tmp_path / "none.png", ["own"], {"device": "cpu"}, "auto", None)


def test_everything_that_uses_a_vae_takes_the_lock_of_the_engine(tmp_path):
    image, spec = tmp_path / "0001-a.png", PipelineSpec(device="cpu")
    Image.new("RGB", (16, 16), "orange").save(image)
    options = {"out": str(tmp_path / "out"), "several": False, "force": False, "tiling": "auto"}
    encoder = ImageEncoder(spec, seed=None, **options)
    [written] = encoder.encode((0, str(image)))
    render = vae_renderer(spec, None, str)
    latents = np.zeros((4, 2, 2), np.float32)
    destination = parse_destination(str(tmp_path / "b.png"), several=False, force=False)
    decoder = LatentsDecoder({}, None, None, destination, metadata=False)
    uses = [
        lambda: ImageEncoder(spec, seed=None, **options),
        lambda: list(encoder.encode((0, str(image)))),
        lambda: list(decoder.decode(Path(written["path"]))),
        lambda: vae_renderer(spec, None, str),
        lambda: render(latents),
        lambda: noise_image(image, [1], spec, seed=0, tiling="auto", warn=str),
        lambda: VaeComparison(image, ["own"], {"device": "cpu"}, "auto", None),
    ]
    for use in uses:
        # The lock refuses its own thread, and makes others wait.
        with engine_lock(), pytest.raises(RuntimeError, match="cannot generate"):
            use()
        use()
