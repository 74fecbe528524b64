r"""Read prompts in compel's language: (a)1.3, a++, a--, ("a", "b").blend(0.7, 0.3), (a, b).and().

A number or signs weigh the brackets, quotes or word before them, without a space: each + is a
factor of 1.1, each - one of 0.9, and nested weights are multiplied. Brackets and quotes are no part
of the text. A backslash makes ( ) " , . + - = and itself text. Anything else that looks like
syntax is refused rather than drawn as words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from sdcli.prompts.syntax.compel_lists import TextList, find_list, read_arguments
from sdcli.prompts.syntax.compel_text import read_text, syntax_error
from sdcli.prompts.syntax.source import SourceText
from sdcli.prompts.syntax.weights import Section

_SYNTAX: Final = re.compile(r'[()"\\+-]')


@dataclass(frozen=True)
class Part:
    """Texts whose embeddings are blended, usually only one, and the weight of the result.

    `shares` are the weights of the texts, which `is_normalized` divides by their sum.
    """

    texts: tuple[Section, ...]
    shares: tuple[float, ...] = (1.0,)
    is_normalized: bool = True
    weight: float = 1.0


def read_compel(prompt: str) -> tuple[Part, ...]:
    """Return the parts of a prompt, whose embeddings follow each other. Raises UsageError."""
    source = SourceText.of(prompt)
    found = find_list(source)
    if found is None:
        return (Part((read_text(source),)),)
    texts = tuple(_read_item(found, item) for item in found.items)
    arguments = read_arguments(found)
    if found.operator == "blend":
        return (Part(texts, arguments.weights, arguments.is_normalized),)
    pairs = zip(texts, arguments.weights, strict=True)
    return tuple(Part((text,), weight=weight) for text, weight in pairs)


def has_compel_syntax(prompt: str) -> bool:
    """Return whether reading the syntax of a prompt makes a difference. Raises UsageError."""
    # Most prompts have none of these, and a file may have a million of them.
    if not _SYNTAX.search(prompt):
        return False
    parts = read_compel(prompt)
    if len(parts) > 1 or len(parts[0].texts) > 1:
        return True
    return [(text.text, text.weight) for text in parts[0].texts[0]] != [(prompt, 1.0)]


def compel_words(prompt: str) -> str:
    """Return all words of a prompt. Raises UsageError."""
    texts = (text for part in read_compel(prompt) for section in part.texts for text in section)
    return " ".join(text.text for text in texts)


def _read_item(found: TextList, item: SourceText) -> Section:
    section = read_text(item)
    if not section:
        raise syntax_error(f"a text of .{found.operator}() is empty", found.place)
    return section
