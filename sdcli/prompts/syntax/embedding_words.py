"""Find the words of prompts that stand for embeddings, and give them places among the tokens."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final

from sdcli.embedding_fields import EmbeddingWord

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
    vectors = _vectors(words)
    end = 0
    for match in _pattern(tuple(word.word for word in words)).finditer(text):
        if match.start() > end:
            yield text[end : match.start()], end, None
        yield match[0], match.start(), vectors[match[0].lower()]
        end = match.end()
    if end < len(text):
        yield text[end:], end, None


@lru_cache(maxsize=64)
def _vectors(words: Words) -> dict[str, range]:
    vectors, first = {}, 0
    for word in words:
        vectors[word.word.lower()] = range(first, first + word.vectors)
        first += word.vectors
    return vectors


@lru_cache(maxsize=1024)
def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    choices = (_whole(word) for word in sorted(words, key=len, reverse=True))
    return re.compile("|".join(choices), re.IGNORECASE)


def _whole(word: str) -> str:
    before = r"(?<!\w)" if re.match(r"\w", word) else ""
    after = r"(?!\w)" if re.search(r"\w\Z", word) else ""
    return f"{before}{re.escape(word)}{after}"
