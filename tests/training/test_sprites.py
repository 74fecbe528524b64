"""The images of single objects."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from sdcli.training import sprites
from sdcli.training.concepts import COLORED_SHAPES
from sdcli.training.sprites import Sprites


@pytest.mark.parametrize("size", [20, 61, 128])
def test_the_longer_side_has_the_size_and_colors_are_premultiplied(
    shapes: Sprites, size: int
) -> None:
    for concept in COLORED_SHAPES:
        pixels = shapes(concept.name, size)
        assert max(pixels.shape[:2]) == size
        assert (pixels[..., :3] <= pixels[..., 3:] + 1e-6).all()
        assert np.asarray(pixels[..., 3]).max() == 1


def test_another_version_of_the_emoji_is_refused(tmp_path: Path) -> None:
    (tmp_path / "icons.json").write_text("{}")
    with pytest.raises(RuntimeError, match="delete it and try again"):
        sprites.fetch_icons(tmp_path)


def test_workers_can_download_the_emoji_at_the_same_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each downloads to its own folder, and the file appears when it is complete."""
    text = b'{"icons": {}}'
    monkeypatch.setattr(sprites, "ICONS_SHA256", hashlib.sha256(text).hexdigest())
    barrier = threading.Barrier(2, timeout=20)
    npm = tmp_path / "npm"
    npm.write_text(NPM.replace("PYTHON", sys.executable))
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    def fetch(_: int) -> bytes:
        barrier.wait()
        return sprites.fetch_icons(tmp_path / "work").read_bytes()

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(fetch, range(2))) == [text, text]
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["icons.json"]


# Writes the package slowly, in two parts, as a download does.
NPM = """#!PYTHON
import io, tarfile, time
with tarfile.open("icons.tgz", "w:gz") as tar:
    data = b'{"icons": {}}'
    time.sleep(0.2)
    info = tarfile.TarInfo("package/icons.json")
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
print("icons.tgz")
"""
