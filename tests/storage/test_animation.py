"""Test animations frame by frame, as other programs decode them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from sdcli.errors import OutputError, UsageError
from sdcli.storage.images.animation import is_animation, prepare_animation, write_animation

FRAMES = [np.full((24, 32, 3), level, np.uint8) for level in (0, 100, 255)]


def write(out: Path, **changes: bool) -> Path:
    path = prepare_animation(str(out), force=changes.get("force", False))
    return Path(write_animation(FRAMES, path, "cat-x0", fps=4.0, force=changes.get("force", False)))


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_every_frame_is_shown_and_the_last_one_stays(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a{suffix}")
    with Image.open(path) as image:
        frames, durations = [], []
        for frame in ImageSequence.Iterator(image):
            frames.append(np.asarray(frame.convert("RGB")))
            durations.append(frame.info["duration"])
    assert durations == [250, 250, 1000]
    assert all(np.array_equal(a, b) for a, b in zip(frames, FRAMES, strict=True))


def test_a_folder_gets_numbered_gifs(tmp_path: Path) -> None:
    names = [write(tmp_path / "out").name for _ in range(2)]
    assert names == ["0001-cat-x0.gif", "0002-cat-x0.gif"]


def test_an_existing_animation_is_overwritten_only_when_forced(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gif")
    with pytest.raises(OutputError, match="exists"):
        write(path)
    assert write(path, force=True) == path


@pytest.mark.parametrize("out", ["-", "a.avi", "a.png"])
def test_what_is_no_animation_is_refused(tmp_path: Path, out: str) -> None:
    with pytest.raises(UsageError) as caught:
        prepare_animation(out if out == "-" else str(tmp_path / out), force=False)
    assert caught.value.code == "usage.out"
    assert caught.value.hint


@pytest.mark.parametrize(("out", "expected"), [("a.GIF", True), ("a.png", False), ("out", False)])
def test_animations_are_recognised_by_their_suffix(out: str, expected: bool) -> None:
    assert is_animation(out) is expected
