"""The world, its captions and its held-out combinations."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdcli.training.captions import caption
from sdcli.training.concepts import BACKGROUNDS, COLORS, CONCEPTS, SCENERY, plural
from sdcli.training.heldout import COUNTS, TEST, TUNING, Case, cases
from sdcli.training.scenes import CELL, LAYOUTS, is_held_out, sample, sample_for_training

seeds = st.integers(0, 2**32)


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("cat", "cats"),
        ("fox", "foxes"),
        ("bus", "buses"),
        ("strawberry", "strawberries"),
        ("key", "keys"),
        ("fish", "fish"),
        ("cactus", "cacti"),
    ],
)
def test_plurals_are_english(one: str, many: str) -> None:
    assert plural(one) == many


def test_no_two_colors_can_be_confused_by_the_judge() -> None:
    for (a, one), (b, other) in combinations(COLORS.items(), 2):
        assert np.linalg.norm(np.subtract(one, other)) >= 60, (a, b)


@given(seeds, st.sampled_from(sorted(LAYOUTS)))
def test_boxes_lie_on_the_grid_of_latents_inside_the_picture(seed: int, layout: str) -> None:
    for box in sample(np.random.default_rng(seed), layout=layout).placements:
        assert box.left % CELL == box.top % CELL == box.size % CELL == 0
        assert min(box.left, box.top) >= 0
        assert max(box.left, box.top) + box.size <= 128


@given(seeds)
def test_boxes_never_overlap_and_show_against_their_background(seed: int) -> None:
    scene = sample(np.random.default_rng(seed))
    for a, b in combinations(scene.placements, 2):
        assert (
            a.left + a.size <= b.left
            or b.left + b.size <= a.left
            or a.top + a.size <= b.top
            or b.top + b.size <= a.top
        )
    assert all(CONCEPTS[box.concept].color != scene.background for box in scene.placements)


@given(seeds)
def test_training_never_sees_what_is_held_out(seed: int) -> None:
    assert not is_held_out(sample_for_training(np.random.default_rng(seed)))


def test_about_a_tenth_of_all_pairs_and_grounds_is_held_out() -> None:
    rng = np.random.default_rng(0)
    share = np.mean([is_held_out(sample(rng, layout="single")) for _ in range(4000)])
    assert 0.07 < share < 0.13


@given(seeds)
def test_a_caption_names_everything_in_the_scene_or_is_empty(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = sample(rng)
    text = caption(rng, scene).lower().replace("grey", "gray")
    if not text:
        return
    for box in scene.placements:
        concept = CONCEPTS[box.concept]
        names = (*concept.words, concept.plural)
        assert any(name.replace("grey", "gray") in text for name in names)
    if scene.background not in SCENERY and scene.background != "white":
        assert scene.background in text


@given(seeds)
def test_a_background_left_unnamed_is_white(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = sample(rng, layout="single")
    text = caption(rng, scene).lower()
    ground = ("background", " on ", " in ", " at ", " under ")
    if text and not any(word in text for word in ground):
        assert scene.background == "white"


@pytest.fixture(scope="module")
def asked() -> list[Case]:
    return cases(TEST)


def test_the_evaluation_asks_every_kind_of_unseen_combination_once(asked: list[Case]) -> None:
    assert len({case.prompt for case in asked}) == len(asked) == sum(COUNTS.values()) >= 400
    assert {case.scene.background for case in asked} == set(BACKGROUNDS)
    unseen = [case for case in asked if case.kind not in ("single", "unnamed")]
    assert all(is_held_out(case.scene) for case in unseen)


def test_settings_are_chosen_on_other_prompts(asked: list[Case]) -> None:
    published = {case.prompt for case in asked}
    tuning = [case for case in cases(TUNING) if case.prompt not in published]
    assert len(tuning) > 300
