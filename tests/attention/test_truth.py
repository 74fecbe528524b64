"""Maps are on the things that their words name; bounds from a study of other prompts.

A smaller sample than the manual's figures, which `python -m tests.attention.truth 100` prints.
"""

from __future__ import annotations

import pytest

from tests.attention import truth

# Which also puts this file among the first.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def nouns() -> list[truth.Case]:
    return truth.cases(truth.noun_prompts(8, 31), causal=False, seed=7000)


def test_the_maps_of_things_are_on_their_things(nouns: list[truth.Case]) -> None:
    figures = truth.summary(truth.own_scores(nouns))
    assert figures["count"] >= 13
    assert figures["pair"] >= 0.98
    assert figures["auc"] >= 0.97
    assert figures["mass"] >= 0.65


def test_the_maps_of_other_images_are_not(nouns: list[truth.Case]) -> None:
    """The control: a score that any map reaches would say nothing."""
    figures = truth.summary(truth.shuffled_scores(nouns, 1))
    assert 0.3 <= figures["pair"] <= 0.7
    assert figures["mass"] <= 0.4


def test_colors_are_found_by_replacing_them_and_not_by_attention() -> None:
    prompts = truth.color_prompts(5, 32)
    causal = truth.own_scores(truth.cases(prompts, causal=True, seed=8000))
    assert len(causal) >= 8
    assert truth.summary(causal)["pair"] >= 0.95
    attention = truth.own_scores(truth.cases(prompts, causal=False, seed=8000))
    # The reason for --causal, and for the warning of the command.
    assert truth.summary(attention[1::2])["pair"] <= 0.3
