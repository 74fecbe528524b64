"""Test that text which is no wildcard stays to the letter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdcli.prompts.wildcard_syntax import has_wildcards, protect_text, restore_text
from sdcli.prompts.wildcards import Wildcards
from sdcli.request import GenerationRequest

PLAIN = [
    "price $5",
    "100% wool",
    "a ## b",
    "# a cat",
    "{}",
    "{ } and {}",
    "50 % } of $ {}",
    "https://example.org // b",
    "/* a */",
    "snake_case __ and ___",
    "cost $$ or $$$",
    "a | b, c\\d (e:1.2) [f]",
    "  two  spaces ",
    "a\tb\nc",
]


def fill(prompt, mode, **options):
    request = GenerationRequest(prompt=prompt, seed=1, **options)
    return list(Wildcards(mode=mode).expand(request))


@pytest.mark.parametrize("mode", ["random", "all"])
@pytest.mark.parametrize("text", PLAIN)
def test_a_prompt_without_a_wildcard_stays_to_the_letter(text, mode):
    assert not has_wildcards(text)
    assert [r.prompt for r in fill(text, mode)] == [text]
    assert [r.negative_prompt for r in fill("a", mode, negative_prompt=text)] == [text]


@pytest.mark.parametrize("mode", ["random", "all"])
@pytest.mark.parametrize("text", PLAIN)
def test_text_beside_a_wildcard_stays_to_the_letter(text, mode):
    [before] = fill(f"{text.lstrip()} {{x}}", mode)
    assert before.prompt == f"{text.lstrip()} x"
    [after] = fill(f"{{x}} {text}", mode)
    assert after.prompt == f"x {text}"


@pytest.mark.parametrize("text", ["$5", "50%", "C#", "a//b", "{}"])
def test_choices_stay_to_the_letter(text):
    assert {r.prompt for r in fill(f"{{{text}|x}}", "all")} == {text, "x"}


@pytest.mark.parametrize(
    ("template", "prompts"),
    [
        ("{2$$ and $$a|b}", {"a and b", "b and a"}),
        ("${x=red}${x} ${x}", {"red red"}),
        ("%{a ... b$$c}", {"a c b"}),
    ],
)
def test_the_syntax_stays_syntax(template, prompts):
    assert {r.prompt for r in fill(template, "all")} == prompts


@given(st.text(st.sampled_from("ab{}|$_#%:,. 12\\()/*")))
def test_protected_text_can_be_restored(text):
    assert restore_text(protect_text(text)) == text
