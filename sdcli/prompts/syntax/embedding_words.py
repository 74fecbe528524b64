"""Find the words of prompts that stand for embeddings, and give them places among the tokens."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final

from sdcli.fields.embedding import EmbeddingWord

FIRST_VECTOR: Final = 1 << 24
"""The first id that is no token of a vocabulary: that of the first vector of a job's embeddings."""

Token = tuple[int, int, int]
"""An id, and the characters (start, end) that it stands for."""

Words = tuple[EmbeddingWord, ...]


def tokenize_words(
    tokenize: Callable[[str], Sequence[Token]], words: Words
) -> Callable[[str], Sequence[Token]]:
    """Return a function that tokenizes as `tokenize` does, but gives the words their vectors.

    A word is found whole and in any case, the longest one first. The text before and after it is
    tokenized apart from it.
    """
    if not words:
        return tokenize

    def tokenize_all(text: str) -> list[Token]:
        tokens: list[Token] = []
        for part, start, vectors in _split(text, words):
            if vectors:
                tokens += [(FIRST_VECTOR + i, start, start + len(part)) for i in vectors]
            else:
                tokens += [(token, start + a, start + b) for token, a, b in tokenize(part)]
        return tokens

    return tokenize_all


def has_word(text: str, word: str) -> bool:
    """Return whether a prompt has the word, also one with brackets that are escaped."""
    pattern = _pattern((word,))
    return any(pattern.search(spelled) for spelled in (text, text.replace("\\", "")))


def is_vector(token: int) -> bool:
    """Return whether an id is that of a vector of an embedding."""
    return token >= FIRST_VECTOR


def join_vectors(tokens: Iterable[Token]) -> Iterator[list[Token]]:
    """Yield the tokens one by one, but all vectors of one word together."""
    group: list[Token] = []
    for token in tokens:
        # Two words in a row have other characters.
        if group and not (is_vector(token[0]) and token[1:] == group[-1][1:]):
            yield group
            group = []
        group.append(token)
    if group:
        yield group


def _split(text: str, words: Words) -> Iterator[tuple[str, int, range | None]]:
    """Yield the parts of a text, where each starts, and the numbers of the vectors of a word."""
    places = _places(words)
    end = 0
    for match in _pattern(tuple(word.word for word, _ in places)).finditer(text):
        if match.start() > end:
            yield text[end : match.start()], end, None
        # Not by its text: letters that match in any case need not be equal in lower case.
        assert match.lastindex is not None, "each word is a group"
        yield match[0], match.start(), places[match.lastindex - 1][1]
        end = match.end()
    if end < len(text):
        yield text[end:], end, None


@lru_cache(maxsize=64)
def _places(words: Words) -> Sequence[tuple[EmbeddingWord, range]]:
    """The words, the longest one first, and the numbers of the vectors of each."""
    places, first = [], 0
    for word in words:
        places.append((word, range(first, first + word.vectors)))
        first += word.vectors
    return sorted(places, key=lambda place: len(place[0].word), reverse=True)


@lru_cache(maxsize=1024)
def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    """Match one of the words, each of which is a group."""
    return re.compile("|".join(f"({_whole(word)})" for word in words), re.IGNORECASE)


def _whole(word: str) -> str:
    before = r"(?<!\w)" if re.match(r"\w", word) else ""
    after = r"(?!\w)" if re.search(r"\w\Z", word) else ""
    return f"{before}{re.escape(word)}{after}"
