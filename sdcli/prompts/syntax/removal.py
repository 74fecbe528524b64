"""Remove the syntax of a prompt, to look at all of its words."""

from __future__ import annotations

from collections.abc import Iterator

from sdcli.prompts.syntax.combination import read_components
from sdcli.prompts.syntax.schedule import Nodes, Switch, parse
from sdcli.prompts.syntax.source import SourceText
from sdcli.prompts.syntax.weights import read_weights


def remove_syntax(prompt: str) -> str:
    """Return all words of a prompt, those of every step and of every prompt that AND combines."""
    return " ".join(
        part.text
        for component in read_components(prompt)
        for section in read_weights(" ".join(_texts(parse(component.text))))
        for part in section
    )


def _texts(nodes: Nodes) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, SourceText):
            yield node.text
        elif isinstance(node, Switch):
            yield from _texts((*node.before, *node.after))
        else:
            for option in node.options:
                yield from _texts(option)
