"""Words that stand for embeddings are found whole, in any case, and keep their vectors together."""

from __future__ import annotations

import re

import pytest

from sdcli.errors import UsageError
from sdcli.fields.embedding import EmbeddingWord, format_embeddings, parse_embeddings
from sdcli.prompts.embedding_sweep import embedding_values
from sdcli.prompts.sweep import combine_repeated
from sdcli.prompts.syntax.chunks import split_chunks
from sdcli.prompts.syntax.embedding_words import FIRST_VECTOR, has_word, tokenize_words
from sdcli.prompts.syntax.weights import read_weights


def tokenize(text: str) -> list[tuple[int, int, int]]:
    """Each word or sign is a token of its length."""
    return [(len(m[0]), m.start(), m.end()) for m in re.finditer(r"\w+|[^\w\s]", text)]


def word(text: str, vectors: int = 1) -> EmbeddingWord:
    return EmbeddingWord(word=text, vectors=vectors)


WORDS = (word("toy", 2), word("<cat-toy>"), word("toy box", 3))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a toy", [1, (0, 2), (1, 2)]),
        ("TOY,toys", [(0, 0), (1, 0), 1, 4]),
        ("a Toy Box.", [1, (3, 2), (4, 2), (5, 2), 1]),
        ("a<cat-toy>b", [1, (2, 1), 1]),
        ("toyota atoy toy_1", [6, 4, 5]),
        ("cat-toy", [3, 1, (0, 4), (1, 4)]),
        ("toy toy", [(0, 0), (1, 0), (0, 4), (1, 4)]),
        ("", []),
    ],
)
def test_words_get_their_vectors(text: str, expected: list[object]) -> None:
    found = tokenize_words(tokenize, WORDS)(text)
    assert [(t - FIRST_VECTOR, s) if t >= FIRST_VECTOR else t for t, s, _ in found] == expected


@pytest.mark.parametrize("written", ["style", "STYLE", "\u017ftyle", "\u0130x", "\u212a", "\u1e9e"])
@pytest.mark.parametrize("name", ["style", "\u017ftyle", "\u0130x", "ix", "k", "\u212a", "\u00df"])
def test_letters_of_other_cases_are_as_one(written: str, name: str) -> None:
    # Regular expressions know more of such letters than str.lower does.
    tokens = tokenize_words(tokenize, (word("other"), word(name, 2)))(f"a {written}")
    found = [token - FIRST_VECTOR for token, *_ in tokens if token >= FIRST_VECTOR]
    assert found == ([1, 2] if has_word(f"a {written}", name) else [])
    assert has_word(f"a {name}", name)


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("(toy:1.2)", "toy", True),
        ("[cat:TOY:0.5]", "toy", True),
        ("toys", "toy", False),
        (r"a \(x\) b", "(x)", True),
    ],
)
def test_a_word_is_found_in_prompts_with_syntax(text: str, name: str, expected: bool) -> None:
    assert has_word(text, name) is expected


def test_vectors_stay_in_one_chunk() -> None:
    chunks = split_chunks(
        read_weights("a, b c (toy box:1.5) d"), tokenize_words(tokenize, WORDS), length=6
    )
    assert [[token.id for token in chunk] for chunk in chunks] == [
        [1, 1, 1, 1],
        [FIRST_VECTOR + 3, FIRST_VECTOR + 4, FIRST_VECTOR + 5, 1],
    ]
    assert [token.weight for token in chunks[1]] == [1.5, 1.5, 1.5, 1]
    assert {(token.start, token.end) for token in chunks[1][:3]} == {(8, 15)}


def test_what_fills_a_chunk_exactly_stays_in_it() -> None:
    chunks = split_chunks(read_weights("a b c toy box"), tokenize_words(tokenize, WORDS), length=6)
    assert [len(chunk) for chunk in chunks] == [6]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.pt", "a.pt:a"),
        ("x/Easy.v2.safetensors; b.bin:my toy", "x/Easy.v2.safetensors:Easy.v2;b.bin:my toy"),
        ("dir:x/a.pt", "dir:x/a.pt:a"),
        ("a.pt:toy;a.pt:toy", "a.pt:toy"),
        ("none", None),
    ],
)
def test_embeddings_are_written_as_they_are_read(text: str, expected: str | None) -> None:
    written = format_embeddings(parse_embeddings(text))
    assert written == expected
    assert format_embeddings(parse_embeddings(written)) == expected


def test_lists_are_axes_and_options_are_combined() -> None:
    assert embedding_values("none, a.pt;b.pt") == ["none", "a.pt;b.pt"]
    assert combine_repeated("embedding", ["none,a.pt", "b.pt"]) == ["none;b.pt", "a.pt;b.pt"]
    with pytest.raises(UsageError, match="has an empty item"):
        embedding_values("a.pt,,b.pt")
