"""Test that labels of animations leave the frames alone."""

from __future__ import annotations

import numpy as np
import pytest

from sdcli.storage.images.frame_labels import label_frames


def frames(count: int, side: int) -> list[np.ndarray]:
    noise = np.random.default_rng(0)
    return [noise.integers(0, 200, (side, side, 3), np.uint8) for _ in range(count)]


@pytest.mark.parametrize("scale", [1, 3])
@pytest.mark.parametrize("side", [32, 128, 512])
def test_the_label_stands_below_the_frame(side: int, scale: int) -> None:
    plain = frames(3, side)
    labelled = label_frames(plain, ["step 1 · t 999", "", "step 100 · t 1"], scale=scale)
    assert len({frame.shape for frame in labelled}) == 1
    for before, after, has_text in zip(plain, labelled, (True, False, True), strict=True):
        height = side * scale
        assert np.array_equal(after[:height:scale, ::scale], before)
        strip = after[height:]
        assert len(strip) >= 12
        assert bool((strip < 128).any()) is has_text
        assert (strip[:, :2] > 128).all()


def test_no_labels_take_no_room() -> None:
    [frame] = frames(1, 32)
    assert np.array_equal(label_frames([frame], [""])[0], frame)
