"""Prompts are read by A1111's rules, whatever they are."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdcli.prompts.syntax.chunks import split_chunks
from sdcli.prompts.syntax.combination import read_components
from sdcli.prompts.syntax.presence import has_and, has_syntax
from sdcli.prompts.syntax.removal import remove_syntax
from sdcli.prompts.syntax.schedule import read_phases
from sdcli.prompts.syntax.weights import escape, read_weights, write_weights
from tests.prompts.a1111_prompts import COMBINATIONS, PROMPTS, SCHEDULES, B, Pieces

SYNTAX = st.text(alphabet="()[]\\:|., abAND1", max_size=40)
WORDS = st.text(alphabet="()[]\\:|., ab1é", min_size=1, max_size=8)
WEIGHTS = st.decimals(min_value=-5, max_value=5, places=2).map(float)


def pieces(prompt: str) -> Pieces:
    found: Pieces = []
    for index, section in enumerate(read_weights(prompt)):
        found += [B] if index else []
        found += [(part.text, part.weight) for part in section]
    return found


def test_there_are_a_hundred_prompts() -> None:
    assert len({prompt for prompt, _ in PROMPTS}) == len(PROMPTS) >= 100


@pytest.mark.parametrize(("prompt", "expected"), PROMPTS)
def test_weights_follow_the_rules(prompt: str, expected: Pieces) -> None:
    found = pieces(prompt)
    texts = [piece if isinstance(piece, str) else piece[0] for piece in found]
    assert texts == [piece if isinstance(piece, str) else piece[0] for piece in expected]
    weights = [piece[1] for piece in found if not isinstance(piece, str)]
    assert weights == pytest.approx([p[1] for p in expected if not isinstance(p, str)])


@pytest.mark.parametrize(("prompt", "steps", "expected"), SCHEDULES)
def test_schedules_follow_the_rules(prompt: str, steps: int, expected: list[str]) -> None:
    phases = read_phases(prompt, steps)
    texts = [
        phase.text.text for phase in phases for _ in range(phase.first_step, phase.last_step + 1)
    ]
    assert texts == expected
    assert phases[0].first_step == 1
    assert phases[-1].last_step == steps


@pytest.mark.parametrize(("prompt", "expected"), COMBINATIONS)
def test_and_follows_the_rules(prompt: str, expected: list[tuple[str, float]]) -> None:
    found = [(component.text.text, component.weight) for component in read_components(prompt)]
    assert found == expected
    assert has_and(prompt) is (len(expected) > 1)


@given(st.one_of(SYNTAX, st.text(max_size=40)), st.integers(1, 30))
def test_nothing_raises_and_offsets_point_into_the_prompt(prompt: str, steps: int) -> None:
    for component in read_components(prompt):
        phases = read_phases(component.text, steps)
        assert [p.first_step for p in phases[1:]] == [p.last_step + 1 for p in phases[:-1]]
        for phase in phases:
            for section in read_weights(phase.text):
                for part in section:
                    assert math.isfinite(part.weight)
                    assert len(part.source.offsets) == len(part.text)
                    assert all(
                        prompt[offset] == char
                        for offset, char in zip(part.source.offsets, part.text, strict=True)
                    )


@given(st.lists(st.tuples(WORDS, WEIGHTS), max_size=6))
def test_written_weights_are_read_again(section: list[tuple[str, float]]) -> None:
    """Neighbours of one weight are one text."""
    joined: list[tuple[str, float]] = []
    for text, weight in section:
        if joined and joined[-1][1] == weight:
            joined[-1] = (joined[-1][0] + text, weight)
        else:
            joined.append((text, weight))
    [found] = read_weights(write_weights(section))
    assert [(part.text, part.weight) for part in found] == joined


@given(WORDS)
def test_escaped_text_is_itself(text: str) -> None:
    [[part]] = read_weights(escape(text))
    assert (part.text, part.weight) == (text, 1)
    [phase] = read_phases(escape(text), 9)
    assert phase.text.text == escape(text)


@given(WORDS, WEIGHTS, WEIGHTS)
def test_nested_weights_multiply(text: str, inner: float, outer: float) -> None:
    [[part]] = read_weights(f"({write_weights([(text, inner)])}:{outer:.2f})")
    assert part.weight == pytest.approx(inner * outer)


@given(SYNTAX.filter(lambda text: not has_syntax(text)))
def test_a_prompt_without_syntax_is_itself(prompt: str) -> None:
    assert pieces(prompt) == ([(prompt, 1)] if prompt else [])
    assert [component.text.text for component in read_components(prompt)] == [prompt]
    [phase] = read_phases(prompt, 9)
    assert phase.text.text == prompt


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("a (cat:1.3)", "a cat"),
        ("[a cat:a [dog|fish]:0.5] red", "a cat a dog fish red"),
        ("a cat :0.5 AND a dog BREAK (red)", "a cat a dog red"),
        (r"a \(cat\)", "a ( cat )"),
    ],
)
def test_syntax_can_be_removed(prompt: str, words: str) -> None:
    assert remove_syntax(prompt).split() == words.split()


@pytest.mark.sample(2)
@pytest.mark.parametrize("text", ["[" * 2000 + "a" + "|b]" * 2000, "(a" * 3000, "[a:" * 2000])
def test_deep_brackets_do_not_raise(text: str) -> None:
    assert read_phases(text, 4)
    assert read_weights(text)


def words(text: str) -> list[tuple[int, int, int]]:
    """A tokenizer of one token a letter; a comma is 0, a space none."""
    return [
        (0 if char == "," else ord(char), i, i + 1) for i, char in enumerate(text) if char != " "
    ]


def lengths(prompt: str) -> list[int]:
    return [len(chunk) for chunk in split_chunks(read_weights(prompt), words)]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("", [0]),
        ("a" * 75, [75]),
        ("a" * 76, [75, 1]),
        ("a" * 150, [75, 75]),
        ("a" * 60 + "," + "b" * 14, [75]),
        ("a" * 60 + "," + "b" * 15, [61, 15]),
        ("a" * 54 + "," + "b" * 30, [75, 10]),  # 21 tokens stand from the comma on
        ("a" * 55 + "," + "b" * 30, [56, 30]),
        ("a" * 75 + "," + "b" * 10, [75, 11]),
        ("a" * 74 + "," + "b" * 10, [75, 10]),
        ("a BREAK b", [1, 1]),
        ("a BREAK BREAK b", [1, 0, 1]),
        ("a BREAK", [1]),
        ("BREAK a", [0, 1]),
        ("a," + "b" * 80, [75, 7]),
    ],
)
def test_chunks_end_at_75_tokens_or_at_a_comma_near_it(prompt: str, expected: list[int]) -> None:
    assert lengths(prompt) == expected


@given(SYNTAX)
def test_chunks_keep_every_token_and_its_weight(prompt: str) -> None:
    sections = read_weights(prompt)
    chunks = split_chunks(sections, words, 5)
    expected = [(t[0], p.weight) for section in sections for p in section for t in words(p.text)]
    assert [(token.id, token.weight) for chunk in chunks for token in chunk] == expected
    assert all(len(chunk) <= 5 for chunk in chunks)
