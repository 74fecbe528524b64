"""Keep track of the characters of a prompt while its syntax is removed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain


@dataclass(frozen=True)
class SourceText:
    """Text, and for each of its characters the offset in the prompt that it came from."""

    text: str
    offsets: tuple[int, ...]

    @classmethod
    def of(cls, prompt: str) -> SourceText:
        """Return the whole prompt."""
        return cls(prompt, tuple(range(len(prompt))))

    def slice(self, start: int, end: int) -> SourceText:
        """Return a part, which may be empty."""
        return SourceText(self.text[start:end], self.offsets[start:end])

    def position(self, index: int) -> int:
        """Return the offset in the prompt of a character, or of the end."""
        if index < len(self.offsets):
            return self.offsets[index]
        return self.offsets[-1] + 1 if self.offsets else 0


def join(parts: Iterable[SourceText]) -> SourceText:
    """Return the parts one after the other."""
    several = tuple(parts)
    text = "".join(part.text for part in several)
    return SourceText(text, tuple(chain.from_iterable(part.offsets for part in several)))
