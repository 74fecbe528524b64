"""Read prompts that are combined: a cat AND a dog :0.5."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

from sdcli.prompts.syntax.presence import AND
from sdcli.prompts.syntax.source import SourceText

_WEIGHT: Final = re.compile(r"\s*:\s*([-+]?(?:\d+\.?\d*|\.\d+))\s*$")


@dataclass(frozen=True)
class Component:
    """One of the prompts that AND combines, and the weight of its guidance."""

    text: SourceText
    weight: float


def read_components(prompt: str) -> tuple[Component, ...]:
    """Return the prompts that are combined; only one without AND. Never raises."""
    source, start = SourceText.of(prompt), 0
    parts = []
    for match in AND.finditer(prompt):
        parts.append(source.slice(start, match.start()))
        start = match.end()
    if not parts:
        return (Component(source, 1.0),)
    return tuple(map(_read_component, (*parts, source.slice(start, len(prompt)))))


def _read_component(part: SourceText) -> Component:
    match = _WEIGHT.search(part.text)
    weight = float(match[1]) if match else math.inf
    if match is None or not math.isfinite(weight):
        return Component(part, 1.0)
    return Component(part.slice(0, match.start()), weight)
