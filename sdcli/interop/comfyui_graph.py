"""A graph of nodes as ComfyUI runs it: values looked for upstream, in what feeds a node."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from sdcli.interop.foreign_record import json_object, shorten

_MOST_NODES: Final = 1000
"""Nobody draws more, and a walk takes time: such a graph is as good as none."""
_FARTHEST: Final = 20
_KINDS: Final = {"number": (int, float), "text": (str,)}
_NAMES: Final = ("value", "string", "text", "int", "float", "number")
"""What nodes that hold one value call it."""
# All in one node, or parts of it in nodes of their own.
_SAMPLES: Final = (frozenset({"sampler_name", "steps", "cfg"}), frozenset({"sampler", "sigmas"}))


@dataclass(frozen=True, eq=False)
class Node:
    """`inputs` has values, and links: [id of a node, number of its output]."""

    kind: str
    inputs: Mapping[str, object]

    @property
    def is_sampler(self) -> bool:
        """Whether it makes latents of noise."""
        return any(self.inputs.keys() >= names for names in _SAMPLES)


@dataclass(frozen=True)
class Graph:
    """Nodes by their id."""

    nodes: Mapping[str, Node] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Graph:
        """The graph of a chunk; what is no node is left out."""
        facts = json_object(text)
        return cls(
            {
                key: Node(shorten(node.get("class_type", "")), node["inputs"])
                for key, node in (facts if len(facts) <= _MOST_NODES else {}).items()
                if isinstance(node, dict) and isinstance(node.get("inputs"), dict)
            }
        )

    def first_sampler(self) -> Node | None:
        """A node that samples and that no other such feeds; later ones refine its picture."""
        node = next((node for node in self.nodes.values() if node.is_sampler), None)
        passed: set[Node] = set()
        while node and node not in passed:
            passed.add(node)
            feeding = (one for one in self.upstream(node) if one.is_sampler and one is not node)
            node = next(feeding, node)
        return node

    def node_at(self, link: object) -> Node | None:
        """The node at the other end of a link, None for what is no link."""
        if not (isinstance(link, list) and len(link) == 2 and isinstance(link[0], str | int)):
            return None
        return self.nodes.get(str(link[0]))

    def upstream(
        self, *start: Node | None, via: Collection[str] = (), but: Collection[str] = ()
    ) -> Iterator[Node]:
        """The nodes and what feeds them, nearest first, each once.

        With `via`, only through inputs of those names; never through those of `but`.
        """
        seen: set[Node] = set()
        waiting = deque(start)
        while waiting:
            node = waiting.popleft()
            if node is None or node in seen:
                continue
            seen.add(node)
            yield node
            links = (v for k, v in node.inputs.items() if (k in via or not via) and k not in but)
            waiting.extend(map(self.node_at, links))

    def number(self, node: Node, *names: str, via: Collection[str] = ("",)) -> object:
        """The first number of those names in the node and in what feeds it through `via`."""
        return self._value("number", node, names, via)

    def text(self, node: Node, *names: str, via: Collection[str] = ("",)) -> object:
        """The same for text."""
        return self._value("text", node, names, via)

    def _value(
        self, kind: str, start: Node, names: Collection[str], via: Collection[str]
    ) -> object:
        for node in self.upstream(start, via=via):
            for name in names:
                value = node.inputs.get(name)
                value = value if _is(kind, value) else self._linked(kind, value, names)
                if value is not None:
                    return value
        return None

    def _linked(self, kind: str, link: object, names: Collection[str]) -> object:
        """The value that a link brings: by a name that fits, or the only one of its kind."""
        for node in islice(self.upstream(self.node_at(link)), _FARTHEST):
            values = {name: value for name, value in node.inputs.items() if _is(kind, value)}
            named = [values[name] for name in (*names, *_NAMES) if name in values]
            if named or len(values) == 1:
                return [*named, *values.values()][0]
        return None


def _is(kind: str, value: object) -> bool:
    return isinstance(value, _KINDS[kind]) and not isinstance(value, bool)
