"""Vocabulary of attention maps: the words of a prompt, what to capture, and what was captured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sdcli.catalog.word_kinds import describing_kind, is_content_word
from sdcli.errors import UsageError, did_you_mean, quoted

if TYPE_CHECKING:
    from numpy.typing import NDArray

START, WORDS, END, PADDING = "start", "words", "end", "padding"
TOKEN_GROUPS: Final = (START, WORDS, END, PADDING)
"""The groups of the tokens of a prompt, in their order."""


@dataclass(frozen=True, kw_only=True)
class PromptWord:
    """A word of a prompt, or several neighbouring ones.

    `index` counts the words of the prompt from 0, `start` and `end` are places in its text, and
    `tokens` are positions in the text encoder's input, where 0 is the start token.
    """

    index: int
    text: str
    start: int
    end: int
    tokens: tuple[int, ...]

    @property
    def is_content(self) -> bool:
        """Whether it names something."""
        return is_content_word(self.text)

    @property
    def kind(self) -> str | None:
        """The kind of a word that describes another one, None for any other word."""
        return describing_kind(self.text)


@dataclass(frozen=True, kw_only=True)
class PromptLayout:
    """The words of a prompt, and their places in the text encoder's input.

    Each of its chunks has `length` places: the start token, as many tokens as `chunks` says, the
    end token, and padding.
    """

    words: tuple[PromptWord, ...]
    chunks: tuple[int, ...]
    length: int

    @property
    def kept(self) -> int:
        """The places up to the end token of the last chunk."""
        return (len(self.chunks) - 1) * self.length + self.chunks[-1] + 2

    def groups(self, places: int) -> dict[str, list[int]]:
        """Return which of so many places each group of tokens has."""
        groups: dict[str, list[int]] = {name: [] for name in TOKEN_GROUPS}
        for number, tokens in enumerate(self.chunks):
            first = number * self.length
            end = first + 1 + tokens
            groups[START].append(first)
            groups[WORDS] += range(first + 1, end)
            groups[END].append(end)
            # The empty chunks behind the last one are padding as a whole.
            last = first + self.length if number < len(self.chunks) - 1 else places
            groups[PADDING] += range(end + 1, last)
        return groups


@dataclass(frozen=True, kw_only=True)
class AttentionSelection:
    """The attention to capture.

    Attributes:
        words: the words or phrases whose maps are wanted; empty for the things of the prompt.
        steps: UNet calls, counted from 1; empty for all.
        layers: names of layers or their beginnings; empty for the decoder without its smallest
            resolution, whose maps are the truest.
        patch: x and y of a pixel whose self-attention is captured.
        heads: also keep the map of each head.
        by_step: also keep the maps of each UNet call.
    """

    words: tuple[str, ...] = ()
    steps: tuple[int, ...] = ()
    layers: tuple[str, ...] = ()
    patch: tuple[int, int] | None = None
    heads: bool = False
    by_step: bool = False

    def includes(self, call: int) -> bool:
        """Whether a UNet call is captured."""
        return not self.steps or call in self.steps


@dataclass(frozen=True, kw_only=True, eq=False)
class AttentionMaps:
    """The attention that was captured of one image.

    Attributes:
        words: all words of the prompt.
        chosen: those whose maps are wanted.
        maps: mean probabilities (tokens, height, width) of all places up to the end token of the
            last chunk, over the selected layers, heads and steps.
        by_step: the same of each UNet call.
        by_head: the same of each layer and head, each of its layer's own size.
        shares: the part of the attention that each group of tokens gets; together 1.
        patch: the self-attention (height, width) of the selected point.
        layers: how many UNet calls were captured of each selected layer.
    """

    words: tuple[PromptWord, ...]
    chosen: tuple[PromptWord, ...]
    maps: NDArray[Any]
    shares: Mapping[str, float]
    layers: Mapping[str, int]
    by_step: Mapping[int, NDArray[Any]] = field(default_factory=dict)
    by_head: Mapping[tuple[str, int], NDArray[Any]] = field(default_factory=dict)
    patch: NDArray[Any] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class CausalMap:
    """Where the prediction moves when a word is replaced.

    `map` is the mean move (height/8, width/8), `share` its size as a part of the prediction's.
    """

    word: PromptWord
    replacements: tuple[str, ...]
    map: NDArray[Any]
    share: float


def choose_words(words: Sequence[PromptWord], wanted: Sequence[str]) -> tuple[PromptWord, ...]:
    """Return the words that were asked for, or else the things that the prompt names.

    A word that occurs several times is returned as often. Raises UsageError for one that the
    prompt does not have.
    """
    if wanted:
        return tuple(dict.fromkeys(w for text in wanted for w in _find_phrase(words, text)))
    content = [word for word in words if word.is_content]
    return tuple([word for word in content if word.kind is None] or content or words)


def _find_phrase(words: Sequence[PromptWord], text: str) -> list[PromptWord]:
    parts = text.lower().split()
    texts = [word.text.lower() for word in words]
    places = [
        i for i in range(len(words)) if parts and texts[i : i + len(parts)] == parts
    ]  # fmt: skip
    if not places:
        raise UsageError(
            f"--words: the prompt has no word {quoted(text)}",
            code="usage.words",
            hint=did_you_mean(text, texts) or f"its words: {', '.join(dict.fromkeys(texts))}",
        )
    return [_join(words[i : i + len(parts)]) for i in places]


def _join(words: Sequence[PromptWord]) -> PromptWord:
    first, last = words[0], words[-1]
    return PromptWord(
        index=first.index,
        text=" ".join(word.text for word in words),
        start=first.start,
        end=last.end,
        tokens=tuple(token for word in words for token in word.tokens),
    )
