"""Previews of a run: the file that they are written to, and that they change no image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdcli import engine
from sdcli.engine.vae import roundtrip
from sdcli.errors import UsageError
from sdcli.runner.options import PreviewOptions
from sdcli.runner.pipeline_cache import engine_lock
from tests.runner.conftest import RunBatch, hash_images, make_request

REQUESTS = [make_request("a red star", num_inference_steps=4)]


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(float)


@pytest.mark.parametrize("vae", [None, "tiny"])
def test_the_last_preview_resembles_the_image_and_changes_nothing(
    vae: str | None, run_batch: RunBatch, tmp_path: Path
) -> None:
    preview = PreviewOptions(out=str(tmp_path / "now.png"), vae=vae)
    [path] = run_batch(REQUESTS, preview=preview).paths
    run_batch(REQUESTS, out=str(tmp_path / "plain"))
    assert hash_images(tmp_path / "outputs") == hash_images(tmp_path / "plain")
    image, last = read(path), read(tmp_path / "now.png")
    scale = image.shape[0] // last.shape[0]
    small = image.reshape(last.shape[0], scale, last.shape[1], scale, 3).mean((1, 3))
    assert np.corrcoef(small.flat, last.flat)[0, 1] > 0.5


@pytest.mark.parametrize("out", ["now.txt", "now", "outputs.png"])
def test_a_preview_needs_an_image_file_that_is_not_the_output(
    out: str, run_batch: RunBatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        run_batch(REQUESTS, out="outputs.png", preview=PreviewOptions(out=out))
    assert caught.value.code == "usage.preview"
    assert not list(tmp_path.glob("*.png"))


def test_the_vae_of_a_preview_is_loaded_and_used_under_the_lock_of_the_engine(
    run_batch: RunBatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = []

    def spy_on(module: object, name: str) -> None:
        original = getattr(module, name)

        def use(*args: object, **options: object) -> object:
            # The lock refuses the thread that holds it.
            with pytest.raises(RuntimeError, match="cannot generate"), engine_lock():
                pass
            used.append(name)
            return original(*args, **options)

        monkeypatch.setattr(module, name, use)

    spy_on(engine, "load_vae")
    spy_on(roundtrip, "decode_array")
    run_batch(REQUESTS, preview=PreviewOptions(out=str(tmp_path / "now.png"), vae="tiny"))
    assert {*used} == {"load_vae", "decode_array"}
