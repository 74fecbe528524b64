"""Random scenes."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sdcli.training.concepts import CONCEPTS
from sdcli.training.scenes import CELL, LAYOUTS, is_held_out, render, sample, sample_for_training
from sdcli.training.sprites import Sprites
from tests.training.example_scenes import red_circle

SEEDS = st.integers(0, 2**32)


@given(SEEDS, st.sampled_from(sorted(LAYOUTS)))
def test_boxes_lie_on_the_grid_of_latents_inside_the_image(seed: int, layout: str) -> None:
    for box in sample(np.random.default_rng(seed), layout=layout).placements:
        assert box.left % CELL == box.top % CELL == box.size % CELL == 0
        assert min(box.left, box.top) >= 0
        assert max(box.left, box.top) + box.size <= 128


@given(SEEDS)
def test_boxes_do_not_overlap_and_objects_are_visible(seed: int) -> None:
    scene = sample(np.random.default_rng(seed))
    for a, b in combinations(scene.placements, 2):
        assert (
            a.left + a.size <= b.left
            or b.left + b.size <= a.left
            or a.top + a.size <= b.top
            or b.top + b.size <= a.top
        )
    assert all(CONCEPTS[box.concept].color != scene.background for box in scene.placements)


@given(SEEDS)
def test_training_scenes_have_no_held_out_pairs(seed: int) -> None:
    assert not is_held_out(sample_for_training(np.random.default_rng(seed)))


def test_about_a_tenth_of_all_pairs_is_held_out() -> None:
    rng = np.random.default_rng(0)
    share = np.mean([is_held_out(sample(rng, layout="single")) for _ in range(4000)])
    assert 0.07 < share < 0.13


def test_an_object_is_drawn_in_its_box_and_nowhere_else(shapes: Sprites) -> None:
    image = render(red_circle(), shapes)
    changed = (image != image[0, 0]).any(-1)
    assert changed[64, 64]
    assert not changed[:24].any()
    assert not changed[:, :24].any()
    assert not changed[104:].any()
