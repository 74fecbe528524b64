"""Prompts of the embedded model are understood as they were written."""

from __future__ import annotations

import numpy as np
import pytest

from sdcli.prompts.scene import parse_scene, read_vocabulary
from sdcli.training.captions import make_caption
from sdcli.training.export_judge import vocabulary
from sdcli.training.scenes import sample


def test_every_caption_is_parsed_to_its_scene() -> None:
    rng = np.random.default_rng(5)
    layouts = set()
    for _ in range(1500):
        scene = sample(rng)
        if not (caption := make_caption(rng, scene)):
            continue
        parsed = parse_scene(caption)
        assert parsed, caption
        assert parsed.objects == tuple(p.concept for p in scene.placements), caption
        assert parsed.background == scene.background, caption
        assert parsed.layout == scene.layout or (parsed.layout, scene.layout) == ("single", "big")
        layouts.add(parsed.layout)
    assert layouts == {"single", "small", "row", "column", "many", "triple"}


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "a unicorn",
        "a cat and a unicorn",
        "a cat on a plaid background",
        "a cat, a dog, a fish and a fox",
        "cat",
        "a cat sitting on a chair",
        "seven cats",
        "a cat and",
        "on a blue background",
    ],
)
def test_other_prompts_are_not_guessed(prompt: str) -> None:
    parsed = parse_scene(prompt)
    assert parsed is None or (prompt == "cat" and parsed.objects == ("cat",))


def test_the_words_of_the_package_are_those_of_the_training() -> None:
    words = read_vocabulary()
    assert {name: getattr(words, name) for name in vocabulary()} == {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in vocabulary().items()
    }
