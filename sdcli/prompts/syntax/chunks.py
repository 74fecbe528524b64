"""Divide the tokens of a prompt into chunks of 75, each of which a text encoder reads alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sdcli.prompts.syntax.embedding_words import join_vectors
from sdcli.prompts.syntax.weights import Section, WeightedText

CHUNK_LENGTH: Final = 75
"""Tokens of a chunk, without those that mark its start and its end."""

_LONGEST_MOVE: Final = 20
"""Most tokens after a comma that move to the next chunk together."""


@dataclass(frozen=True)
class WeightedToken:
    """A token of a prompt, its weight, and its characters (start, end) in the prompt."""

    id: int
    weight: float
    start: int
    end: int


Chunk = tuple[WeightedToken, ...]
Tokenize = Callable[[str], Sequence[tuple[int, int, int]]]
"""Returns the tokens of a text, without those that mark its start and its end, each as its id and
the characters (start, end) that it stands for."""


def split_chunks(
    sections: Iterable[Section], tokenize: Tokenize, length: int = CHUNK_LENGTH
) -> tuple[Chunk, ...]:
    """Return the chunks of a prompt, at least one.

    Each section begins a new one. Where a chunk is full, what follows its last comma moves to the
    next chunk too, unless that is more than 20 tokens. The vectors of an embedding stay together.
    """
    # Without a token for the comma alone, chunks end where they are full.
    comma = tokenize(",")
    builder = _Builder(comma[0][0] if len(comma) == 1 else None, length)
    for index, section in enumerate(sections):
        if index:
            builder.close()
        for part in section:
            for tokens in join_vectors(tokenize(part.text)):
                builder.add(_weigh(part, tokens))
    return builder.finish()


def weigh_tokens(part: WeightedText, tokenize: Tokenize) -> Chunk:
    """Return the tokens of a text, however many."""
    groups = join_vectors(tokenize(part.text))
    return tuple(token for tokens in groups for token in _weigh(part, tokens))


def _weigh(part: WeightedText, tokens: Sequence[tuple[int, int, int]]) -> list[WeightedToken]:
    """Return a token, or the vectors of an embedding, with their weight."""
    _, first, end = tokens[0]
    # Syntax may follow the last character, and is no part of the token.
    start, last = part.source.position(first), part.source.position(end - 1)
    return [WeightedToken(token, part.weight, start, last + 1) for token, *_ in tokens]


class _Builder:
    def __init__(self, comma: int | None, length: int) -> None:
        self._comma = comma
        self._length = length
        self._chunks: list[Chunk] = []
        self._tokens: list[WeightedToken] = []
        self._last_comma: int | None = None

    def add(self, tokens: Sequence[WeightedToken]) -> None:
        """Add a token, or the vectors of an embedding."""
        if tokens[0].id == self._comma:
            self._last_comma = len(self._tokens)
        elif len(self._tokens) == self._length and self._last_comma is not None:
            self._move_after_comma(self._last_comma)
        if self._tokens and len(self._tokens) + len(tokens) > self._length:
            self.close()
        self._tokens += tokens

    def _move_after_comma(self, comma: int) -> None:
        if len(self._tokens) - comma > _LONGEST_MOVE:
            return
        moved = self._tokens[comma + 1 :]
        self._tokens = self._tokens[: comma + 1]
        self.close()
        self._tokens = moved

    def close(self) -> None:
        self._chunks.append(tuple(self._tokens))
        self._tokens, self._last_comma = [], None

    def finish(self) -> tuple[Chunk, ...]:
        if self._tokens or not self._chunks:
            self.close()
        return tuple(self._chunks)
