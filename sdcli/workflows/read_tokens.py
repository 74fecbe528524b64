"""Describe the tokens of a prompt as a text encoder gets them, without loading any library."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sdcli.checkpoints.clip_tokenizer import ClipTokenizer
from sdcli.fields.embedding import EmbeddingWord
from sdcli.fields.prompt import A1111, COMPEL, PLAIN
from sdcli.prompts.syntax.chunks import Chunk, WeightedToken, split_chunks
from sdcli.prompts.syntax.combination import read_components
from sdcli.prompts.syntax.compel import read_compel
from sdcli.prompts.syntax.compel_tokens import FittedText, fit_text
from sdcli.prompts.syntax.embedding_words import is_vector, tokenize_words
from sdcli.prompts.syntax.schedule import read_phases
from sdcli.prompts.syntax.source import SourceText
from sdcli.prompts.syntax.weights import read_weights

_WORD_END = "</w>"


@dataclass(frozen=True)
class TokenReader:
    """Reads prompts in a syntax, for runs of so many steps."""

    tokenizer: ClipTokenizer
    syntax: str
    steps: int
    embeddings: tuple[EmbeddingWord, ...] = ()

    def read(self, prompt: str, *, combines: bool = True) -> dict[str, Any]:
        """Return a JSON-able description of a prompt.

        `parts` has an entry for each of the prompts that AND combines, if this one `combines` any,
        and for each of their texts over the steps.
        """
        parts = [self._describe(*part) for part in self._parts(prompt, combines)]
        cut = None if self.syntax == A1111 else self._find_cut(prompt)
        return {"text": prompt, "parts": parts, "cut": cut}

    def _parts(
        self, prompt: str, combines: bool
    ) -> Iterator[tuple[float, int, int, Sequence[Chunk]]]:
        """Yield weight, first step, last step and chunks."""
        source = SourceText.of(prompt)
        if self.syntax == PLAIN:
            kept = self._tokens(source)[: self.tokenizer.limit]
            yield 1.0, 1, self.steps, [tuple(kept)]
            return
        if self.syntax == COMPEL:
            for weight, fitted in self._compel_texts(prompt):
                yield weight, 1, self.steps, [fitted.tokens]
            return
        several = read_components(prompt) if combines else ()
        for text, weight in [(c.text, c.weight) for c in several] or [(source, 1.0)]:
            for phase in read_phases(text, self.steps):
                sections = read_weights(phase.text)
                chunks = split_chunks(sections, self._tokenize, self.tokenizer.limit)
                yield weight, phase.first_step, phase.last_step, chunks

    def _compel_texts(self, prompt: str) -> Iterator[tuple[float, FittedText]]:
        """Yield the texts of compel's language, each with the weights of its part and its blend."""
        for part in read_compel(prompt):
            # The shares that count, not those that were written.
            total = sum(part.shares) if part.is_normalized else 1.0
            for section, share in zip(part.texts, part.shares, strict=True):
                text = fit_text(section, self._tokenize, self.tokenizer.limit)
                yield part.weight * share / total, text

    def _tokens(self, source: SourceText) -> list[WeightedToken]:
        return [WeightedToken(token, 1.0, *span) for token, *span in self._tokenize(source.text)]

    def _tokenize(self, text: str) -> Sequence[tuple[int, int, int]]:
        return tokenize_words(self.tokenizer, self.embeddings)(text)

    def _find_cut(self, prompt: str) -> dict[str, Any] | None:
        """Return the end of a prompt that does not fit, None if all of it does.

        Of several texts, it is the end of the first that does not fit.
        """
        if self.syntax == COMPEL:
            texts = [text for _, text in self._compel_texts(prompt) if text.cut]
            return _describe_cut(texts[0].rest, texts[0].cut) if texts else None
        cut = self._tokens(SourceText.of(prompt))[self.tokenizer.limit :]
        return _describe_cut(prompt[cut[0].start :], cut) if cut else None

    def _describe(
        self, weight: float, first: int, last: int, chunks: Sequence[Chunk]
    ) -> dict[str, Any]:
        return {
            "weight": weight,
            "first_step": first,
            "last_step": last,
            "tokens": sum(map(len, chunks)),
            "chunks": [
                {"tokens": len(chunk), "words": [*map(self._word, self._words(chunk))]}
                for chunk in chunks
            ],
        }

    def _words(self, chunk: Chunk) -> Iterator[list[WeightedToken]]:
        """Yield the tokens of each word, and the vectors of each embedding."""
        word: list[WeightedToken] = []
        for token in chunk:
            if word and not self._continues(word[-1], token):
                yield word
                word = []
            word.append(token)
        if word:
            yield word

    def _continues(self, last: WeightedToken, token: WeightedToken) -> bool:
        if is_vector(last.id) or is_vector(token.id):
            return (last.start, last.end) == (token.start, token.end)
        return not (self._is_special(last.id) or self.tokenizer.piece(last.id).endswith(_WORD_END))

    def _word(self, tokens: Sequence[WeightedToken]) -> dict[str, Any]:
        first, last = tokens[0], tokens[-1]
        ids = [token.id for token in tokens if not is_vector(token.id)]
        return {
            "ids": ids,
            "pieces": [self.tokenizer.piece(token) for token in ids],
            "vectors": len(tokens) - len(ids),
            "weight": first.weight,
            "start": first.start,
            "end": last.end,
            "special": self._is_special(first.id),
        }

    def _is_special(self, token: int) -> bool:
        return token in (self.tokenizer.bos, self.tokenizer.eos)


def _describe_cut(text: str, cut: Sequence[WeightedToken]) -> dict[str, Any]:
    return {"text": text, "start": cut[0].start, "tokens": len(cut)}
