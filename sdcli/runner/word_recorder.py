"""Describe a recorder that needs the words of a prompt in fixed places."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class WordRecorder:
    """Makes a recorder of the words of a prompt; `option` is what the user asked for it with."""

    option: str
    make: Callable[[Any], Any]

    def __call__(self, run: Any) -> Any:
        return self.make(run)


def option_of_words(recorders: Sequence[Callable[[Any], Any]]) -> str | None:
    """Return the option that needs the words in fixed places, None if nothing does."""
    return next((r.option for r in recorders if isinstance(r, WordRecorder)), None)
