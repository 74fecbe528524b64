"""Words of prompts with weights and of several chunks, and the places of their tokens."""

from __future__ import annotations

from typing import Any

import pytest

from sdcli.attention import END, PADDING, START, WORDS, PromptLayout
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.engine.text.tokens import pad_ids
from sdcli.engine.text.weighted import read_chunks
from sdcli.engine.text.words import find_weighted_words, find_words


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from sdcli.engine.loading.tokenizer import load_tokenizer

    return load_tokenizer(EMBEDDED_FOLDER / "tokenizer", 77)[0]


LONG = "a cat, " + "red, " * 40 + "and a guitar"


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        ("(cat:1.3) and [a dog]", ["cat", "and", "a", "dog"]),
        (r"\(cat\)", ["(", "cat", ")"]),
        ("((leading)) guitar", ["leading", "guitar"]),
        ("(café:1.2), ok", ["café", ",", "ok"]),
        ("(cafe\u0301:1.2) ok", ["cafe\u0301", "ok"]),
        ("(snow ☃:0.8)man", ["snow", "☃", "man"]),
        ("(gui:1.2)tar", ["gui", "tar"]),
        ("a cat BREAK a dog", ["a", "cat", "a", "dog"]),
        ("BREAK a dog", ["a", "dog"]),
        (LONG, ["a", "cat", ",", *["red", ","] * 40, "and", "a", "guitar"]),
        ("", []),
    ],
)
def test_the_tokens_of_a_word_are_at_its_places(
    tokenizer: Any, prompt: str, texts: list[str]
) -> None:
    chunks = read_chunks(tokenizer, prompt)
    words = find_weighted_words(tokenizer, chunks, prompt)
    assert [word.text for word in words] == texts
    assert [word.index for word in words] == list(range(len(words)))
    assert [prompt[word.start : word.end] for word in words] == texts
    # What the text encoder reads at these places is the word.
    padded = [pad_ids(tokenizer, [token.id for token in chunk])[0][0] for chunk in chunks]
    ids = [number for row in padded for number in row.tolist()]
    for word in words:
        spelled = tokenizer(word.text, add_special_tokens=False).input_ids
        assert [ids[place] for place in word.tokens] == spelled


@pytest.mark.parametrize(
    "prompt",
    ["a cat", "A  CAT\n and", "snow ☃ man", "it's 12", "red-panda", "a <|endoftext|> cat"],
)
def test_without_weights_they_are_the_words_of_a_plain_prompt(tokenizer: Any, prompt: str) -> None:
    chunks = read_chunks(tokenizer, prompt)
    assert find_weighted_words(tokenizer, chunks, prompt) == find_words(tokenizer, prompt)


@pytest.mark.parametrize("chunks", [(0,), (3,), (75,), (75, 2), (0, 3), (70, 75, 1)])
@pytest.mark.parametrize("empty", [0, 1])
def test_each_place_is_in_one_group(chunks: tuple[int, ...], empty: int) -> None:
    layout = PromptLayout(words=(), chunks=chunks, length=77)
    places = 77 * (len(chunks) + empty)
    groups = layout.groups(places)
    assert sorted(place for group in groups.values() for place in group) == list(range(places))
    starts = [77 * i for i in range(len(chunks))]
    assert groups[START] == starts
    ends = [start + 1 + count for start, count in zip(starts, chunks, strict=True)]
    assert groups[END] == ends
    assert len(groups[WORDS]) == sum(chunks)
    assert len(groups[PADDING]) == sum(75 - count for count in chunks) + 77 * empty
    assert layout.kept == ends[-1] + 1
