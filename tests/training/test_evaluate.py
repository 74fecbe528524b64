"""The selection of prompts for the evaluation."""

from __future__ import annotations

from sdcli.training.concepts import COLORS, CONCEPTS
from sdcli.training.evaluate import IMAGES_PER_CLASS, select_cases, single_object_prompts


def test_settings_are_chosen_on_other_prompts_than_the_published_ones() -> None:
    published = {case.prompt for case in select_cases(tuning=False)}
    tuning = select_cases(tuning=True)
    assert len(tuning) > 300
    assert not [case for case in tuning if case.prompt in published]


def test_every_class_is_drawn_on_several_colors_but_not_its_own() -> None:
    prompts = single_object_prompts()
    assert len(prompts) == len(set(prompts)) == IMAGES_PER_CLASS * len(CONCEPTS)
    for name, prompt in prompts:
        assert not prompt.endswith(f" {CONCEPTS[name].color} background")
    for color in COLORS:
        assert any(prompt.endswith(f" {color} background") for _, prompt in prompts)
