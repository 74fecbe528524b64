"""The captions of scenes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdcli.training.captions import EMPTY_SHARE, article, make_caption
from sdcli.training.concepts import CONCEPTS, SCENERY
from sdcli.training.scenes import sample

SEEDS = st.integers(0, 2**32)


@given(SEEDS)
def test_a_caption_names_everything_in_the_scene_or_is_empty(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = sample(rng)
    text = make_caption(rng, scene).lower().replace("grey", "gray")
    if not text:
        return
    for box in scene.placements:
        concept = CONCEPTS[box.concept]
        names = (*concept.words, concept.plural)
        assert any(name.replace("grey", "gray") in text for name in names)
    if scene.background not in SCENERY and scene.background != "white":
        assert scene.background in text


@given(SEEDS)
def test_a_background_that_is_not_mentioned_is_white(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = sample(rng, layout="single")
    text = make_caption(rng, scene).lower()
    markers = ("background", " on ", " in ", " at ", " under ")
    if text and not any(word in text for word in markers):
        assert scene.background == "white"


def test_a_tenth_of_the_captions_is_empty() -> None:
    rng = np.random.default_rng(0)
    share = np.mean([not make_caption(rng, sample(rng)) for _ in range(4000)])
    assert share == pytest.approx(EMPTY_SHARE, abs=0.02)


def test_articles() -> None:
    assert [article(noun) for noun in ("cat", "apple", "umbrella")] == ["a", "an", "an"]
