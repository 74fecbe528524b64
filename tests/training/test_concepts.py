"""The objects, colors and backgrounds."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from sdcli.training.concepts import CLASS_INDEX, COLORS, CONCEPTS, can_be_many, plural


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


def test_colors_are_far_enough_apart_for_the_judge() -> None:
    for (a, one), (b, other) in combinations(COLORS.items(), 2):
        assert np.linalg.norm(np.subtract(one, other)) >= 60, (a, b)


def test_every_concept_has_a_class_and_a_way_to_be_drawn() -> None:
    assert list(CLASS_INDEX.values()) == list(range(len(CONCEPTS)))
    for concept in CONCEPTS.values():
        assert bool(concept.icon) != bool(concept.shape and concept.color)
        assert concept.words[0] == concept.name


def test_objects_that_are_several_already_cannot_be_many() -> None:
    singular = {name for name, concept in CONCEPTS.items() if not can_be_many(concept)}
    assert singular == {"cherries", "grapes", "sunglasses", "fire"}
