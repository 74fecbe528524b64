"""Describe a recorder that needs the words of a prompt in fixed places."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sdcli.planning.prompt_syntax import WordPlaces


@dataclass(frozen=True)
class WordRecorder:
    """Makes a recorder of the words of a prompt, which needs these places of them."""

    places: WordPlaces
    make: Callable[[Any], Any]

    def __call__(self, run: Any) -> Any:
        return self.make(run)


def word_places_of(recorders: Sequence[Callable[[Any], Any]]) -> WordPlaces | None:
    """Return the places of the words that a recorder needs, None if none does."""
    return next((r.places for r in recorders if isinstance(r, WordRecorder)), None)
