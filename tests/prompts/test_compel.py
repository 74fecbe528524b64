"""Compel's language: texts and weights by its rules, and errors that name the place."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdcli.errors import UsageError
from sdcli.prompts.syntax.compel import Part, compel_words, has_compel_syntax, read_compel

SYNTAX = st.text(alphabet='ab ()"\\,.+-=1.3:[]', max_size=24)
WORDS = st.text(alphabet='ab c()"\\,.+-=', min_size=1, max_size=12).filter(str.strip)
WEIGHTS = st.sampled_from([0.25, 0.5, 0.9, 1.0, 1.3, 2.0])
SAID = [
    ("a cat", [("a cat", 1)]),
    ("a  cat, blue-eyed - and (now) 5+5", [("a  cat, blue-eyed - and now  5+5", 1)]),
    ("a (cat)1.3", [("a ", 1), ("cat", 1.3)]),
    ("a (cat)1.3, snow", [("a ", 1), ("cat", 1.3), (", snow", 1)]),
    ("cat++ dog--", [("cat", 1.21), ("dog", 0.81)]),
    ('"a cat"+ (a dog)-', [("a cat", 1.1), ("a dog", 0.9)]),
    ("(a (b)2 c)0.5", [("a ", 0.5), ("b", 1), (" c", 0.5)]),
    ("((a cat)1.5)-", [("a cat", 1.35)]),
    ("(a)1.2 (b)1.2", [("a b", 1.2)]),
    ("a,b++", [("a,", 1), ("b", 1.21)]),
    ("cat.attend(1.4) (a dog).attend(--)", [("cat", 1.4), ("a dog", 0.81)]),
    (r"\(cat\) c\+\+ 6\" a\.b", [('(cat) c++ 6" a.b', 1)]),
    (r"a\b", [(r"a\b", 1)]),
    ("[a:b:3] AND {c}", [("[a:b:3] AND {c}", 1)]),
    ("(cat)0", [("cat", 0)]),
    ("(cat).5", [("cat", 0.5)]),
    ("a () b", [("a  b", 1)]),
]


@pytest.mark.parametrize(("prompt", "expected"), SAID)
def test_texts_and_weights_are_those_of_the_rules(
    prompt: str, expected: list[tuple[str, float]]
) -> None:
    [part] = read_compel(prompt)
    [section] = part.texts
    found = [(re.sub(" +", " ", text.text), pytest.approx(text.weight)) for text in section]
    assert found == [(re.sub(" +", " ", text), weight) for text, weight in expected]


def texts_of(part: Part) -> list[str]:
    return [" ".join(text.text.strip() for text in section) for section in part.texts]


def test_lists_are_blended_or_follow_each_other() -> None:
    [part] = read_compel('("a cat++", (a dog), snow).blend(0.7, 0.2, -.1)')
    assert texts_of(part) == ["a cat", "a dog", "snow"]
    assert [text.weight for text in part.texts[0]] == pytest.approx([1, 1.21])
    assert (part.shares, part.is_normalized) == ((0.7, 0.2, -0.1), True)
    [part] = read_compel(' ("a, b", "c").blend(1, 2, no_normalize) ')
    assert (texts_of(part), part.shares, part.is_normalized) == (["a, b", "c"], (1, 2), False)
    assert read_compel('("a", "b").blend()')[0].shares == (1, 1)
    for name in ("and", "add"):
        parts = read_compel(f'("a cat", b).{name}(1, 0.5)')
        assert [texts_of(part) for part in parts] == [["a cat"], ["b"]]
        assert [part.weight for part in parts] == [1, 0.5]
    assert [part.weight for part in read_compel('("a", "b").and()')] == [1, 1]


REFUSED = [
    ("a (cat", "( is never closed (character 3)"),
    ("a cat)", ") closes nothing (character 6)"),
    ('6" pipe', '" is never closed (character 2)'),
    ('"a (b" c', "( is never closed (character 4)"),
    ("(cat:1.3)", "A1111"),
    ("a cat.swap(dog)", ".swap() is not supported"),
    ("(a cat).swap(dog)", ".swap() is not supported (character 8)"),
    ("(a cat).mix(dog)", ".mix() is no operator of compel"),
    ("withLora(style, 0.8) a cat", "withLora"),
    ('a ("b", "c").blend(1, 2)', ".blend() needs to be the whole prompt (character 13)"),
    ('("b", "c").and() a', ".and() needs to be the whole prompt"),
    ("cat.blend(1)", ".blend() needs to be the whole prompt"),
    ("(a cat, dog).blend(1, 1)", "texts in quotes, or single words: a cat"),
    ('("a"++, dog).blend(1, 1)', 'texts in quotes, or single words: "a"++'),
    ('("a", ).and()', "single words: nothing"),
    ('("a", "").and()', "a text of .and() is empty"),
    ('("a", "b").blend(1)', "1 weights for 2 texts"),
    ('("a", "b").blend(1, x)', "no number"),
    ('("a", "b").and(1, 1, no_normalize)', "no number"),
    ('("a", "b").blend(1, -1)', "add up to 0"),
    ("(a)-1.3", "a number after - is no weight"),
    ("cat+-", "mixes + and -"),
    ("3.5++", "++ follows a word with a point"),
    ("cat" + "+" * 60, "more than 50 signs"),
    ("(" * 60 + "a" + ")" * 60, "more than 50 brackets"),
    ("(a)99999", "a weight is above 1000"),
    ("(a)" + "9" * 400, "a weight is above 1000"),
    ("a.attend(x)", ".attend() needs one weight"),
]


@pytest.mark.parametrize(("prompt", "text"), REFUSED)
def test_what_is_not_supported_is_refused_with_its_name_and_place(prompt: str, text: str) -> None:
    with pytest.raises(UsageError, match=re.escape(text)) as caught:
        read_compel(prompt)
    assert caught.value.hint
    assert re.search(r"\(character \d+\)", caught.value.message)


@given(st.one_of(SYNTAX, st.text(max_size=30)))
@settings(deadline=None)
def test_any_text_is_read_or_refused(prompt: str) -> None:
    try:
        parts = read_compel(prompt)
    except UsageError:
        return
    assert isinstance(compel_words(prompt), str)
    assert has_compel_syntax(prompt) in (True, False)
    for text in (text for part in parts for section in part.texts for text in section):
        assert math.isfinite(text.weight)
        assert len(text.source.offsets) == len(text.text)
        pairs = zip(text.source.offsets, text.text, strict=True)
        assert all(prompt[offset] == char for offset, char in pairs if char != " ")


def write(text: str, weight: float = 1.0) -> str:
    escaped = re.sub(r'[()",.+=\\-]', r"\\\g<0>", text)
    return f"({escaped}){weight}"


@given(st.lists(st.tuples(WORDS, WEIGHTS), min_size=1, max_size=5))
@settings(deadline=None)
def test_written_weights_are_read_again(section: list[tuple[str, float]]) -> None:
    """Neighbours of one weight are one text."""
    joined: list[tuple[str, float]] = []
    for text, weight in section:
        if joined and joined[-1][1] == weight:
            joined[-1] = (f"{joined[-1][0]} {text}", weight)
        else:
            joined.append((text, weight))
    [part] = read_compel("".join(write(*pair) for pair in section))
    assert [(text.text, text.weight) for text in part.texts[0]] == joined


@given(WORDS, WEIGHTS, WEIGHTS, st.integers(0, 5))
@settings(deadline=None)
def test_nested_weights_multiply(text: str, inner: float, outer: float, signs: int) -> None:
    [part] = read_compel(f"(({write(text, inner)}){outer}){'+' * signs}")
    assert part.texts[0][0].weight == pytest.approx(inner * outer * 1.1**signs)


@given(st.text(alphabet="ab é:[]{}|, .\n5-", max_size=20).filter(lambda t: "-" not in t))
def test_a_prompt_without_syntax_is_itself(prompt: str) -> None:
    assert not has_compel_syntax(prompt)
    if prompt.strip():
        assert [text.text for text in read_compel(prompt)[0].texts[0]] == [prompt]
