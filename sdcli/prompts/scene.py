"""Parse the prompts that the embedded model was trained on, to know what an image should show."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

JUDGE_FOLDER: Final = Path(__file__).parents[1] / "models" / "judge"
VOCABULARY: Final = "vocabulary.json"

_PREFIX = re.compile(r"(an? )?(photo|picture|image|drawing|illustration|emoji) of ")
_SUFFIX = re.compile(r"(, (high quality|detailed|flat design|cute|digital art))+$")
_NOUN = re.compile(r"(?:(?:an?|the) )?(.+)")
_SIZED = re.compile(r"(?:(?:an?|the) )?(?:(small|little|tiny)|big|large|huge) (.+)")
_MANY = re.compile(r"(two|three) (.+)")
_TRIPLE = re.compile(r"(.+), (.+) and (.+)")
_PAIRS: Final = (
    ("column", False, r"(.+) at the top and (.+) at the bottom"),
    ("column", False, r"(.+) (?:above|on top of) (.+)"),
    ("column", True, r"(.+) (?:below|under) (.+)"),
    ("row", False, r"(.+) on the left and (.+) on the right"),
    ("row", False, r"(.+?) (?:to the )?left of (.+)"),
    ("row", True, r"(.+?) (?:to the )?right of (.+)"),
    ("row", False, r"(.+) (?:and|next to|with|beside) (.+)"),
)
"""Layouts of two objects, whether the second is named first, and their wording."""
_UNNAMED: Final = "white"


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """The words of the model: its objects and backgrounds in the order of the judge's classes.

    `nouns` and `plurals` are the words of the objects, `phrases` the ends of a prompt that name a
    background.
    """

    objects: tuple[str, ...]
    backgrounds: tuple[str, ...]
    nouns: Mapping[str, str]
    plurals: Mapping[str, str]
    phrases: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class PromptScene:
    """The objects that a prompt names, left to right or top to bottom, and the background.

    `layout` is single, small, row, column, many or triple.
    """

    layout: str
    objects: tuple[str, ...]
    background: str


@cache
def read_vocabulary(folder: Path = JUDGE_FOLDER) -> Vocabulary:
    """Read the words of the embedded model."""
    content = json.loads((folder / VOCABULARY).read_text("utf-8"))
    for name in ("objects", "backgrounds"):
        content[name] = tuple(content[name])
    return Vocabulary(**content)


def parse_scene(prompt: str, vocabulary: Vocabulary | None = None) -> PromptScene | None:
    """Return the scene that a prompt describes, None for one with other words or other wording."""
    vocabulary = vocabulary or read_vocabulary()
    text = " ".join(prompt.lower().replace("grey", "gray").split()).rstrip(".")
    text = _SUFFIX.sub("", _PREFIX.sub("", text, count=1) if _PREFIX.match(text) else text)
    for objects, background in _split_background(text, vocabulary):
        for layout, names in _readings(objects, vocabulary):
            if all(names):
                return PromptScene(layout=layout, objects=names, background=background)
    return None


def _split_background(text: str, vocabulary: Vocabulary) -> Iterator[tuple[str, str]]:
    """The text before a phrase that names the background; without one, it is white."""
    for phrase, name in vocabulary.phrases.items():
        if text.endswith(phrase):
            yield text.removesuffix(phrase), name
    yield text, _UNNAMED


def _readings(text: str, vocabulary: Vocabulary) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every layout whose wording fits, with its objects, "" for an unknown one."""

    def noun(phrase: str) -> str:
        match = _NOUN.fullmatch(phrase)
        return vocabulary.nouns.get(match[1], "") if match else ""

    yield "single", (noun(text),)
    if match := _SIZED.fullmatch(text):
        yield ("small" if match[1] else "single"), (noun(match[2]),)
    if match := _MANY.fullmatch(text):
        count = 2 if match[1] == "two" else 3
        yield "many", (vocabulary.plurals.get(match[2], ""),) * count
    if match := _TRIPLE.fullmatch(text):
        yield "triple", (noun(match[1]), noun(match[2]), noun(match[3]))
    for layout, is_reversed, pattern in _PAIRS:
        if match := re.fullmatch(pattern, text):
            pair = (noun(match[1]), noun(match[2]))
            yield layout, pair[::-1] if is_reversed else pair
