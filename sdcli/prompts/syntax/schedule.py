r"""Read prompts that change during a run: [from:to:when], [added:when], [removed::when], [a|b].

`when` is a fraction of the steps if it has a point, otherwise a step, after which the text changes.
[a|b] takes turns from step to step. Both may be nested. Other square brackets are left as they are:
those are weights. A backslash takes away the meaning of the next character.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from sdcli.prompts.syntax.presence import has_and
from sdcli.prompts.syntax.source import SourceText, join

_TOKEN: Final = re.compile(r"\\.|[()\[\]:|]|[^\\()\[\]:|]+|\\", re.DOTALL)
_WHEN: Final = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*")
_DEEPEST: Final = 32
"""Changes within changes that are read; deeper ones are text."""
_MOST_OPEN: Final = 100
"""Brackets within brackets that are read, so that the time grows with the length only."""


@dataclass(frozen=True)
class Switch:
    """Text that changes once. `when` is the number as it was written."""

    before: Nodes
    after: Nodes
    when: str
    depth: int

    def last_step(self, steps: int) -> int:
        """Return the last step of the first text, counted from 1; 0 if it has none."""
        value = float(self.when) * (steps if "." in self.when else 1)
        return int(min(steps, max(0, value)))


@dataclass(frozen=True)
class Alternation:
    """Texts that take turns."""

    options: tuple[Nodes, ...]
    depth: int


Node = SourceText | Switch | Alternation
Nodes = tuple[Node, ...]


@dataclass(frozen=True)
class Phase:
    """The text of a prompt in some steps of a run, counted from 1."""

    first_step: int
    last_step: int
    text: SourceText


def read_phases(prompt: SourceText | str, steps: int) -> tuple[Phase, ...]:
    """Return the texts of a prompt over a run of so many steps. Never raises."""
    nodes = parse(prompt)
    phases: list[Phase] = []
    # Most prompts never change, and a run may have a thousand steps.
    for step in range(1, max(1, steps) + 1 if _changes(nodes) else 2):
        text = text_at(nodes, step, steps)
        if phases and phases[-1].text == text:
            phases[-1] = Phase(phases[-1].first_step, step, text)
        else:
            phases.append(Phase(step, step, text))
    last = phases[-1]
    return (*phases[:-1], Phase(last.first_step, max(1, steps), last.text))


def changes_words(prompt: str) -> bool:
    """Return whether a prompt has other words at other steps, or combines several with AND."""
    return has_and(prompt) or _changes(parse(prompt))


def text_at(nodes: Nodes, step: int, steps: int) -> SourceText:
    """Return the text at a step, counted from 1."""
    return join(_texts_at(nodes, step, steps))


def _changes(nodes: Nodes) -> bool:
    return any(not isinstance(node, SourceText) for node in nodes)


def _texts_at(nodes: Nodes, step: int, steps: int) -> Iterator[SourceText]:
    for node in nodes:
        if isinstance(node, SourceText):
            yield node
        elif isinstance(node, Switch):
            is_first = step <= node.last_step(steps)
            yield from _texts_at(node.before if is_first else node.after, step, steps)
        else:
            yield from _texts_at(node.options[(step - 1) % len(node.options)], step, steps)


@dataclass
class _Bracket:
    """An open bracket ("" for the prompt itself), its nodes, and the separators among them."""

    opening: SourceText
    nodes: list[Node] = field(default_factory=list)
    separators: list[tuple[int, str]] = field(default_factory=list)
    is_balanced: bool = True

    def add_separator(self, text: SourceText) -> None:
        self.separators.append((len(self.nodes), text.text))
        self.nodes.append(text)

    def absorb(self, nodes: Sequence[Node], *, is_balanced: bool) -> None:
        self.nodes += nodes
        self.is_balanced &= is_balanced

    def parts(self) -> list[Nodes]:
        starts = [0, *(index + 1 for index, _ in self.separators)]
        ends = [*(index for index, _ in self.separators), len(self.nodes)]
        return [tuple(self.nodes[start:end]) for start, end in zip(starts, ends, strict=True)]


def parse(prompt: SourceText | str) -> Nodes:
    """Return the text of a prompt, with a node for each change in it. Never raises."""
    source = SourceText.of(prompt) if isinstance(prompt, str) else prompt
    stack = [_Bracket(SourceText("", ()))]
    for match in _TOKEN.finditer(source.text):
        text = source.slice(match.start(), match.end())
        if text.text in ("(", "[") and len(stack) <= _MOST_OPEN:
            stack.append(_Bracket(text))
        elif text.text in (")", "]"):
            _close(stack, text)
        elif text.text in (":", "|"):
            stack[-1].add_separator(text)
        elif text.text in ("(", "["):
            stack[-1].absorb([text], is_balanced=False)
        else:
            stack[-1].nodes.append(text)
    while len(stack) > 1:
        _flatten(stack)
    return tuple(stack[0].nodes)


def _close(stack: list[_Bracket], closing: SourceText) -> None:
    opening = "(" if closing.text == ")" else "["
    if all(bracket.opening.text != opening for bracket in stack):
        stack[-1].absorb([closing], is_balanced=False)
        return
    while stack[-1].opening.text != opening:
        _flatten(stack)
    bracket = stack.pop()
    change = _read_change(bracket) if opening == "[" else None
    nodes = [change] if change else [bracket.opening, *bracket.nodes, closing]
    stack[-1].absorb(nodes, is_balanced=bracket.is_balanced)


def _flatten(stack: list[_Bracket]) -> None:
    """Make an open bracket that will not be closed text of the bracket around it."""
    bracket = stack.pop()
    stack[-1].absorb([bracket.opening, *bracket.nodes], is_balanced=False)


def _read_change(bracket: _Bracket) -> Switch | Alternation | None:
    """Return the change that a pair of square brackets means, None if it is a weight."""
    kinds, parts = {kind for _, kind in bracket.separators}, bracket.parts()
    inner = (node.depth for node in bracket.nodes if not isinstance(node, SourceText))
    depth = 1 + max(inner, default=0)
    if not bracket.is_balanced or depth > _DEEPEST:
        return None
    if kinds == {"|"}:
        return Alternation(tuple(parts), depth)
    if kinds != {":"} or len(parts) > 3:
        return None
    # A change in the place of the number has no one value.
    if not all(isinstance(node, SourceText) for node in parts[-1]):
        return None
    when = _WHEN.fullmatch("".join(node.text for node in parts[-1] if isinstance(node, SourceText)))
    before = parts[0] if len(parts) == 3 else ()
    return Switch(before, parts[-2], when[1], depth) if when else None
