"""The prompts of the evaluation."""

from __future__ import annotations

import pytest

from sdcli.training.concepts import BACKGROUNDS
from sdcli.training.heldout import COUNTS, TEST, Case, build_cases
from sdcli.training.scenes import is_held_out


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return build_cases(TEST)


def test_the_cases_are_different_and_their_combinations_held_out(cases: list[Case]) -> None:
    assert len({case.prompt for case in cases}) == len(cases) == sum(COUNTS.values()) >= 400
    assert {case.scene.background for case in cases} == set(BACKGROUNDS)
    unseen = [case for case in cases if case.kind not in ("single", "unnamed")]
    assert all(is_held_out(case.scene) for case in unseen)


def test_the_cases_depend_only_on_the_seed(cases: list[Case]) -> None:
    assert build_cases(TEST) == cases
