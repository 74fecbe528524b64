"""Follow the texts of ComfyUI's graphs through the nodes that join, trim and pass them on."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from sdcli.interop.comfyui_graph import Graph, Node

_MAX_LENGTH: Final = 200_000
"""Characters of one text. Joining a node with itself doubles it, so a small file could go far."""
_MAX_DEPTH: Final = 100

_VALUE_NAMES: Final = (
    "text", "string", "value", "prompt", "text_positive", "positive", "any", "anything", "source",
    "input", "any_input", "str", "",
)  # fmt: skip
"""Inputs that hold the text of a node that passes one on. A reroute's has an empty name."""
_OPAQUE: Final = re.compile(
    r"wildcard|random|dynamic.?prompt|llm|llava|gpt|ollama|gemini|florence|qwen|caption|interrogat"
    r"|tagger|describe|translat|style|load|file|csv|regex|substring|format|json|extract|split|list"
    r"|replace|remove|shuffle|sort|truncat|strip|trim|case|generat|build|compos|eval|script|python"
    r"|filter|swap|invert",
    re.IGNORECASE,
)
"""Classes whose text is made when the graph runs, in ways that the graph does not tell."""
_CHANGES: Final = re.compile(r"prefix|suffix|append|prepend|before|after|find|replace", re.I)
"""Inputs that change the text of a node that otherwise would pass one on."""
_JOINS: Final = re.compile(r"concat|join|append|combine|merge", re.IGNORECASE)
_SWITCHES: Final = re.compile(r"switch|select", re.IGNORECASE)
_PART: Final = re.compile(
    r"(?:string|text|prompt|part|str|input|value|line)s?[ _]?([a-z]|\d{1,4})?", re.IGNORECASE
)
_CHOICES: Final = ("select", "switch", "boolean", "Input")
_DELIMITERS: Final = ("delimiter", "separator", "sep", "joiner")
_DELIMITER_NAMES: Final = {"comma": ", ", "newline": "\n", "space": " ", "none": ""}


@dataclass(frozen=True)
class Missing:
    """A text that the graph does not hold; `place` is the node where it ends."""

    place: str


Text = str | Missing


class TextFinder:
    """Find the texts that links bring, each node once."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._texts: dict[Node, Text] = {}
        self._depth = 0

    def find(self, value: object) -> Text:
        """Return the text of an input's value: its own, or that of the node it links to."""
        if isinstance(value, str):
            return value
        if isinstance(value, int | float):
            return str(value)
        node = self._graph.node_at(value)
        if node is None:
            return Missing(self._graph.place_of(value))
        return self.of_node(node)

    def of_node(self, node: Node) -> Text:
        """Return the text that a node puts out."""
        if node not in self._texts:
            # The answer for a node that links back to itself.
            self._texts[node] = Missing(node.place)
            self._depth += 1
            if self._depth < _MAX_DEPTH:
                self._texts[node] = self._evaluate(node)
            self._depth -= 1
        return self._texts[node]

    def _evaluate(self, node: Node) -> Text:
        kind = node.kind
        if kind in _OPERATIONS:
            return self._operate(node, _OPERATIONS[kind])
        if _OPAQUE.search(kind):
            return _filled_wildcards(node)
        if kind.startswith("StringFunction"):
            return self._join_tags(node)
        if _SWITCHES.search(kind):
            return self._selected(node)
        if _JOINS.search(kind) and (parts := _parts(node)):
            return self._join(node, parts)
        return self._passed_on(node)

    def _passed_on(self, node: Node) -> Text:
        """The text of a node that stores, shows or reroutes one, as far as can be told."""
        inputs = {n: v for n, v in node.inputs.items() if isinstance(v, str | list) and v != ""}
        named = [inputs[name] for name in _VALUE_NAMES if name in inputs]
        if not named:
            empty = any(node.inputs.get(name) == "" for name in _VALUE_NAMES)
            # The only text, or else the only link of a node that uses another name.
            named = [v for v in inputs.values() if isinstance(v, str)] or list(inputs.values())
            named = [""] if empty else named
        if len(named) != 1 or any(map(_CHANGES.search, inputs)):
            return Missing(node.place)
        return self.find(named[0])

    def _join(self, node: Node, names: list[str]) -> Text:
        texts = [self.find(node.inputs[name]) for name in names]
        delimiter = self._delimiter(node)
        for text in (delimiter, *texts):
            if isinstance(text, Missing):
                return text
        if str(node.inputs.get("clean_whitespace", "")).lower() == "true":
            texts = [str(text).strip() for text in texts]
        # ComfyUI's own node keeps the delimiter beside an empty part, all others drop it.
        kept = [str(text) for text in texts if text or node.kind == "StringConcatenate"]
        return _limited(str(delimiter).join(kept), node)

    def _delimiter(self, node: Node) -> Text:
        if str(node.inputs.get("linebreak_addition", "")).lower() == "true":
            return "\n"
        value = next((node.inputs[name] for name in _DELIMITERS if name in node.inputs), "")
        text = self.find(value)
        if isinstance(text, Missing):
            return text
        return _DELIMITER_NAMES.get(text.lower(), text.replace("\\n", "\n"))

    def _join_tags(self, node: Node) -> Text:
        """Join as StringFunction|pysssss does, which can also replace by a regular expression."""
        if node.inputs.get("action") != "append":
            return Missing(node.place)
        texts = [self.find(node.inputs[name]) for name in _parts(node)]
        for text in texts:
            if isinstance(text, Missing):
                return text
        is_tidy = node.inputs.get("tidy_tags") == "yes"
        joined = (", " if is_tidy else "").join(str(text) for text in texts if text)
        if is_tidy:
            joined = re.sub(r",{2,}", ",", re.sub(r"\s{2,}", " ", joined).replace(" ,", ","))
        return _limited(joined.strip() if is_tidy else joined, node)

    def _selected(self, node: Node) -> Text:
        """Return the chosen input of a switch, if the graph says which one it is."""
        choice = next((node.inputs[name] for name in _CHOICES if name in node.inputs), None)
        names: tuple[str, ...]
        if isinstance(choice, bool):
            names = ("on_true", "text_a") if choice else ("on_false", "text_b")
        else:
            names = (f"input{choice}", f"input_{choice}", f"text{choice}", f"text_{choice}")
        for name in names:
            if name in node.inputs:
                return self.find(node.inputs[name])
        return Missing(node.place)

    def _operate(self, node: Node, operation: Callable[[str, Mapping[str, object]], str]) -> Text:
        text = self.find(node.inputs.get("string", ""))
        if isinstance(text, Missing):
            return text
        plain = all(isinstance(v, str) for name, v in node.inputs.items() if name != "string")
        return _limited(operation(text, node.inputs), node) if plain else Missing(node.place)


def _parts(node: Node) -> list[str]:
    """The inputs that a node joins, in their order: text_a, text_b or string1, string2."""
    order = {}
    for name, value in node.inputs.items():
        match = _PART.fullmatch(name)
        if match and isinstance(value, str | list):
            suffix = match[1] or ""
            order[name] = int(suffix) if suffix.isdecimal() else ord(suffix.lower() or "\0")
    return sorted(order, key=order.__getitem__)


def _filled_wildcards(node: Node) -> Text:
    """The text that Impact's nodes drew from their wildcards, which they store beside these."""
    text = node.inputs.get("populated_text")
    return text if isinstance(text, str) and text.strip() else Missing(node.place)


def _limited(text: str, node: Node) -> Text:
    return text if len(text) <= _MAX_LENGTH else Missing(node.place)


def _replace(text: str, inputs: Mapping[str, object]) -> str:
    pattern, new = str(inputs.get("find", "")), str(inputs.get("replace", ""))
    # The result can be as long as the product of both.
    if text.count(pattern) * len(new) > _MAX_LENGTH:
        return " " * (_MAX_LENGTH + 1)
    return text.replace(pattern, new)


def _trim(text: str, inputs: Mapping[str, object]) -> str:
    sides = {"Left": str.lstrip, "Right": str.rstrip}
    return sides.get(str(inputs.get("mode")), str.strip)(text)


def _convert_case(text: str, inputs: Mapping[str, object]) -> str:
    cases: Mapping[str, Callable[[str], str]] = {
        "UPPERCASE": str.upper, "lowercase": str.lower, "Capitalize": str.capitalize,
        "Title Case": str.title,
    }  # fmt: skip
    return cases.get(str(inputs.get("mode")), str)(text)


_OPERATIONS: Final[Mapping[str, Callable[[str, Mapping[str, object]], str]]] = {
    "StringReplace": _replace,
    "StringTrim": _trim,
    "CaseConverter": _convert_case,
}
