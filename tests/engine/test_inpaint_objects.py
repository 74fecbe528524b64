"""Inpainting draws the new object in place of the old one, and leaves the other as it was."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest

from sdcli import engine
from sdcli.catalog.schedulers.resolve import resolve_scheduler
from sdcli.engine.judge import load_judge
from sdcli.input_images import InputPixels
from sdcli.prompts.scene import read_vocabulary
from tests.jobs import make_job
from tests.sampled_tables import RUNS_ALL

needs_all = pytest.mark.skipif(not RUNS_ALL, reason="takes minutes: make test-all")
minutes = pytest.mark.timeout(1800)

SIDE = 128
OBJECTS = [
    ("cat", "dog", "guitar"),
    ("cat", "frog", "guitar"),
    ("pig", "penguin", "guitar"),
    ("banana", "tomato", "guitar"),
    ("fox", "koala", "rocket"),
]
"""The object to replace, the new one, and the one beside them."""

_RESOLVED = resolve_scheduler("DPM++ 2M")
_SETTINGS: dict[str, Any] = {
    "width": SIDE,
    "height": SIDE,
    "num_inference_steps": 10,
    "scheduler": _RESOLVED.choice,
    "scheduler_label": _RESOLVED.label,
}
_MASK: dict[str, Any] = {
    "image": "in.png", "image_sha256": "ab" * 32, "mask": "mask.png", "mask_sha256": "cd" * 32,
}  # fmt: skip


def any_objects(number: int) -> list[tuple[str, str, str]]:
    """Random things that the judge knows, of those that a plain "a" may precede."""
    known = [w for w in read_vocabulary().objects if w[0] not in "aeiou" and not w.endswith("s")]
    random = Random(0)
    drawn = (random.sample(known, 3) for _ in range(number))
    return [(old, new, other) for old, new, other in drawn]


@pytest.mark.parametrize("number", [5, pytest.param(100, marks=[needs_all, minutes])])
def test_an_object_is_replaced_and_the_other_kept(loaded: Any, number: int) -> None:
    objects = OBJECTS if number == len(OBJECTS) else any_objects(number)
    judge = load_judge()
    mask = np.zeros((SIDE, SIDE), bool)
    mask[16:96, :64] = True
    drawn = right = 0
    for i, (old, new, other) in enumerate(objects):
        text = make_job(**_SETTINGS, prompt=f"a {old} and a {other}", seed=i)
        [before] = [result.pixels for result in engine.generate_batch(loaded, [text])]
        job = make_job(**_SETTINGS, **_MASK, prompt=f"a {new} and a {other}", seed=i, strength=0.8)
        [result] = engine.generate_batch(loaded, [job], inputs=InputPixels(image=before, mask=mask))
        # Before the kept pixels are put back, the VAE alone moves the other half.
        gap = result.pixels[:, 72:].astype(float) - before[:, 72:]
        assert np.sqrt((gap**2).mean()) < 10
        after = np.where(mask[..., None], result.pixels, before)
        drawn += judge.classify_objects(before, "row", 2) == [old, other]
        right += judge.classify_objects(after, "row", 2) == [new, other]
    print(f"{right} of {number} right after inpainting, {drawn} before")
    wrong = max(1, number // 10)
    assert number - drawn <= wrong
    assert number - right <= wrong
