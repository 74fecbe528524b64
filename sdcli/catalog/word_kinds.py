"""List English words by kind, to tell those whose attention maps can be trusted."""

from __future__ import annotations

from typing import Final

FUNCTION_WORDS: Final = frozenset(
    {
        *("a", "an", "the", "and", "or", "but", "of", "on", "in", "at", "to", "with", "without"),
        *("by", "for", "from", "into", "onto", "over", "under", "above", "below", "between"),
        *("beside", "behind", "near", "next", "left", "right", "top", "bottom", "front", "back"),
        *("is", "are", "was", "were", "be", "being", "it", "its", "this", "that", "these"),
        *("those", "his", "her", "their", "as", "than", "then", "there", "which", "who", "while"),
        "very",
    }
)
"""Words that name nothing to see; their maps are not shown unless they are asked for."""

COLORS: Final = (
    *("red", "green", "blue", "yellow", "purple", "orange", "pink", "black", "white", "brown"),
    *("gray", "grey", "cyan", "magenta", "turquoise", "teal", "violet", "beige", "gold", "golden"),
    *("silver", "crimson", "scarlet", "maroon", "navy", "indigo", "lime", "olive", "ivory"),
)
SIZES: Final = (
    *("small", "large", "big", "tiny", "huge", "little", "giant", "tall", "short", "long"),
    *("wide", "narrow", "thin", "thick"),
)
NUMBERS: Final = (
    *("two", "three", "one", "four", "five", "six", "seven", "eight", "nine", "ten", "many"),
    *("several", "few", "no"),
)
QUALITIES: Final = (
    *("old", "young", "new", "beautiful", "cute", "pretty", "ugly", "dark", "light", "bright"),
    *("pale", "happy", "sad", "angry", "wooden", "metal", "glass", "wet", "dry", "hot", "cold"),
    *("fluffy", "shiny", "striped", "spotted", "dirty", "clean", "broken", "realistic", "detailed"),
    *("flat", "round", "soft", "hard", "snowy", "high", "digital"),
)
RELATIONS: Final = ("left", "right", "above", "below", "top", "bottom", "front", "behind")

_KINDS: Final = {
    "color": COLORS,
    "size": SIZES,
    "number": NUMBERS,
    "quality": QUALITIES,
    "relation": RELATIONS,
}
_THINGS: Final = ("cat", "tree", "car")


def describing_kind(word: str) -> str | None:
    """Return the kind of a word that describes another, such as "color"; None for other words."""
    return next((kind for kind, words in _KINDS.items() if word.lower() in words), None)


def is_content_word(word: str) -> bool:
    """Whether a word names something: not a function word, punctuation or a lone digit."""
    return word.lower() not in FUNCTION_WORDS and any(map(str.isalpha, word))


def replacements(word: str, things: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return up to two words of the same kind to put in place of a word.

    `things` are the other things of its prompt, which stand in for a word of no known kind.
    """
    kind = describing_kind(word)
    candidates = _KINDS[kind] if kind else (*things, *_THINGS)
    others = [other for other in candidates if other.lower() != word.lower()]
    return tuple(dict.fromkeys(others))[: 2 if kind else 1]
