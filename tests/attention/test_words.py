"""The words of prompts, as the embedded model's tokenizer divides them."""

from __future__ import annotations

from typing import Any

import pytest

from sdcli.attention import PromptWord, choose_words
from sdcli.catalog.word_kinds import describing_kind, is_content_word, replacements
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.engine.text.words import find_words
from sdcli.errors import UsageError


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from sdcli.engine.loading.tokenizer import load_tokenizer

    return load_tokenizer(EMBEDDED_FOLDER / "tokenizer", 77)[0]


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        ("a cat", ["a", "cat"]),
        ("A  CAT\n and", ["A", "CAT", "and"]),
        ("strange leading words", ["strange", "leading", "words"]),
        ("a café, ok", ["a", "café", ",", "ok"]),
        ("a cafe\u0301 ok", ["a", "cafe\u0301", "ok"]),
        ("snow ☃ man", ["snow", "☃", "man"]),
        ("it's 12", ["it", "'s", "1", "2"]),
        ("red-panda", ["red", "-", "panda"]),
        ("", []),
    ],
)
def test_pieces_are_joined_to_words(tokenizer: Any, prompt: str, texts: list[str]) -> None:
    words = find_words(tokenizer, prompt)
    assert [word.text for word in words] == texts
    assert [word.index for word in words] == list(range(len(words)))
    assert [prompt[word.start : word.end] for word in words] == texts
    # Every token between the start and the end token belongs to one word.
    tokens = [token for word in words for token in word.tokens]
    assert tokens == list(range(1, len(tokenizer(prompt).input_ids) - 1))


def test_words_that_are_cut_off_are_none(tokenizer: Any) -> None:
    words = find_words(tokenizer, " ".join(["cat"] * 100))
    assert len(words) == 75
    assert words[-1].tokens == (75,)


def words_of(text: str) -> list[PromptWord]:
    found, place = [], 0
    for index, word in enumerate(text.split()):
        start = text.index(word, place)
        place = start + len(word)
        found.append(
            PromptWord(index=index, text=word, start=start, end=place, tokens=(index + 1,))
        )
    return found


@pytest.mark.parametrize(
    ("prompt", "wanted", "chosen"),
    [
        ("a cat and a guitar", (), ["cat", "guitar"]),
        ("a red circle and a blue star", (), ["circle", "star"]),
        ("red", (), ["red"]),
        ("the of", (), ["the", "of"]),
        ("a cat and a cat", ("cat",), ["cat", "cat"]),
        ("a Cat", ("cat",), ["Cat"]),
        ("a cat", ("cat", "cat"), ["cat"]),
        ("on a blue background", ("blue background",), ["blue background"]),
    ],
)
def test_words_are_chosen(prompt: str, wanted: tuple[str, ...], chosen: list[str]) -> None:
    assert [word.text for word in choose_words(words_of(prompt), wanted)] == chosen


def test_a_phrase_has_the_tokens_of_its_words() -> None:
    [phrase] = choose_words(words_of("on a blue background"), ("blue background",))
    assert (phrase.index, phrase.tokens, phrase.start, phrase.end) == (2, (3, 4), 5, 20)


@pytest.mark.parametrize("wanted", ["dog", "cat guitar", "  "])
def test_a_word_that_is_missing_is_an_error(wanted: str) -> None:
    with pytest.raises(UsageError, match="the prompt has no word") as error:
        choose_words(words_of("a cat and a guitar"), (wanted,))
    assert error.value.hint


@pytest.mark.parametrize(
    ("word", "kind"),
    [("red", "color"), ("Blue", "color"), ("small", "size"), ("two", "number"), ("cat", None),
     ("cute", "quality"), ("left", "relation"), ("background", None)],
)  # fmt: skip
def test_the_kind_of_a_word(word: str, kind: str | None) -> None:
    assert describing_kind(word) == kind


@pytest.mark.parametrize(
    ("word", "content"), [("cat", True), ("The", False), (",", False), ("1", False), ("é", True)]
)
def test_words_that_name_something(word: str, content: bool) -> None:
    assert is_content_word(word) is content


def test_a_word_is_replaced_by_others_of_its_kind() -> None:
    assert replacements("red") == ("green", "blue")
    assert replacements("Green") == ("red", "blue")
    assert replacements("small") == ("large", "big")
    assert replacements("cat", ("cat", "guitar")) == ("guitar",)
    assert replacements("cat", ("cat",)) == ("tree",)
    for word in ("red", "two", "cat"):
        assert word not in replacements(word, (word,))
