"""Fit the tokens of a text of compel's language into a text encoder."""

from __future__ import annotations

from dataclasses import dataclass

from sdcli.prompts.syntax.chunks import Chunk, Tokenize, weigh_tokens
from sdcli.prompts.syntax.compel import read_compel
from sdcli.prompts.syntax.weights import Section


@dataclass(frozen=True)
class FittedText:
    """The tokens of a text that fit, those that are cut off, and their text.

    `below_one` has the ranges of the tokens whose weight is below 1, each with that weight.
    """

    tokens: Chunk
    cut: Chunk
    rest: str
    below_one: tuple[tuple[tuple[int, int], float], ...]


def fit_text(section: Section, tokenize: Tokenize, limit: int) -> FittedText:
    """Return the first tokens of a text, as many as `limit`, as compel cuts it off by default."""
    tokens: Chunk = ()
    cut: Chunk = ()
    rest: list[str] = []
    ranges = []
    for part in section:
        found = weigh_tokens(part, tokenize)
        start, room = len(tokens), limit - len(tokens)
        if len(found) > room:
            rest.append(part.text[part.source.offsets.index(found[room].start) :])
        tokens, cut = tokens + found[:room], cut + found[room:]
        if part.weight < 1 and len(tokens) > start:
            ranges.append(((start, len(tokens)), part.weight))
    return FittedText(tokens, cut, " ".join(rest), tuple(ranges))


def compel_chunks(prompt: str, tokenize: Tokenize, limit: int) -> tuple[Chunk, ...]:
    """Return the tokens of each part of a prompt, of blended texts those of the first."""
    return tuple(fit_text(part.texts[0], tokenize, limit).tokens for part in read_compel(prompt))
