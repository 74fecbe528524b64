"""Search ComfyUI's graphs: find values in a node, and upstream in the nodes that feed it."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from sdcli.interop.foreign_record import json_object, shorten

_MAX_NODES: Final = 1000
"""Larger graphs are ignored: people don't draw them, and searching them takes long."""
_MAX_DISTANCE: Final = 20
"""Nodes that a linked value is searched in."""
_VALUE_TYPES: Final = {"number": (int, float), "text": (str,)}
_VALUE_NAMES: Final = ("value", "string", "text", "int", "float", "number")
"""Names that nodes of a single value use for it."""
_OUTPUTS: Final = tuple(
    re.compile(pattern, re.IGNORECASE) for pattern in ("save", "preview|output|video ?combine")
)
"""Classes of nodes that save or show the image, in order of precedence."""
_NO_IMAGES: Final = frozenset(
    {"model", "clip", "vae", "positive", "negative", "conditioning", "guider", "noise", "sampler"}
    | {"sigmas", "control_net", "mask", "text", "seed", "noise_seed", "steps", "cfg", "cond1"}
    | {"cond2", "clip_vision_output", "prompt", "filename_prefix"}
)
"""Inputs that no image or latents come through."""
# Either all settings are in one node, or parts of them are nodes of their own.
_SAMPLER_INPUTS: Final = (
    frozenset({"sampler_name", "steps", "cfg"}),
    frozenset({"sampler", "sigmas"}),
)


@dataclass(frozen=True, eq=False)
class Node:
    """A node of a class (`kind`); `inputs` are values, and links [id of a node, output number]."""

    kind: str
    inputs: Mapping[str, object]
    id: str = ""

    @property
    def place(self) -> str:
        """The node as messages name it: "node 7 (KSampler)"."""
        return f"node {shorten(self.id, 40)} ({shorten(self.kind, 60)})"

    @property
    def is_sampler(self) -> bool:
        """Whether the node denoises latents."""
        return any(self.inputs.keys() >= names for names in _SAMPLER_INPUTS)


@dataclass(frozen=True)
class Graph:
    """Nodes by their ids."""

    nodes: Mapping[str, Node] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Graph:
        """Parse the text of a chunk. Entries that are not nodes are skipped; never raises."""
        entries = json_object(text)
        return cls(
            {
                key: Node(shorten(entry.get("class_type", "")), entry["inputs"], key)
                for key, entry in (entries if len(entries) <= _MAX_NODES else {}).items()
                if isinstance(entry, dict) and isinstance(entry.get("inputs"), dict)
            }
        )

    def first_sampler(self) -> Node | None:
        """Return the first sampler of the saved image: later ones only refine what it made."""
        node = self._saved_sampler()
        visited: set[Node] = set()
        # Links in a damaged file can form a cycle.
        while node and node not in visited:
            visited.add(node)
            feeding = (n for n in self._images_before(node) if n.is_sampler and n is not node)
            node = next(feeding, node)
        return node

    def _saved_sampler(self) -> Node | None:
        """The last sampler before an output that saves, else one that shows, else any."""
        for pattern in _OUTPUTS:
            for output in self.nodes.values():
                if not pattern.search(output.kind) or output.is_sampler:
                    continue
                samplers = (node for node in self._images_before(output) if node.is_sampler)
                if sampler := next(samplers, None):
                    return sampler
        return next((node for node in self.nodes.values() if node.is_sampler), None)

    def _images_before(self, node: Node) -> Iterator[Node]:
        """The nodes that an image or latents passed through before a node."""
        return self.upstream(node, exclude=_NO_IMAGES)

    def is_link(self, value: object) -> bool:
        """Whether a value is a link, also one to a node that the graph lacks."""
        return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int)

    def place_of(self, link: object) -> str:
        """Name the node that a link points to, also one that the graph lacks."""
        node = self.node_at(link)
        if node:
            return node.place
        name = shorten(link[0], 40) if isinstance(link, list) and link else "?"
        return f"node {name}, which the graph lacks"

    def node_at(self, link: object) -> Node | None:
        """Return the node that a link points to, None for anything that is not a link."""
        if not (isinstance(link, list) and len(link) == 2 and isinstance(link[0], str | int)):
            return None
        return self.nodes.get(str(link[0]))

    def upstream(
        self, *start: Node | None, via: Collection[str] = (), exclude: Collection[str] = ()
    ) -> Iterator[Node]:
        """Yield the nodes and all nodes that feed them, nearest first, each once.

        With `via`, links are followed only from inputs of those names; never from `exclude`.
        """
        visited: set[Node] = set()
        queue = deque(start)
        while queue:
            node = queue.popleft()
            if node is None or node in visited:
                continue
            visited.add(node)
            yield node
            links = (
                value
                for name, value in node.inputs.items()
                if (name in via or not via) and name not in exclude
            )
            queue.extend(map(self.node_at, links))

    # No input has an empty name: the default of `via` searches the node alone.
    def number(self, node: Node, *names: str, via: Collection[str] = ("",)) -> object:
        """Find the first number with one of the names, in a node and its feeders through `via`."""
        return self._find_value("number", node, names, via)

    def text(self, node: Node, *names: str, via: Collection[str] = ("",)) -> object:
        """Find the first text with one of the names, in a node and its feeders through `via`."""
        return self._find_value("text", node, names, via)

    def _find_value(
        self, value_type: str, start: Node, names: Collection[str], via: Collection[str]
    ) -> object:
        for node in self.upstream(start, via=via):
            for name in names:
                value = node.inputs.get(name)
                if not _has_type(value_type, value):
                    value = self._linked_value(value_type, value, names)
                if value is not None:
                    return value
        return None

    def _linked_value(self, value_type: str, link: object, names: Collection[str]) -> object:
        """The value that a link brings: one with a fitting name, or the only one of its type."""
        for node in islice(self.upstream(self.node_at(link)), _MAX_DISTANCE):
            values = {k: v for k, v in node.inputs.items() if _has_type(value_type, v)}
            named = [values[name] for name in (*names, *_VALUE_NAMES) if name in values]
            if named or len(values) == 1:
                return [*named, *values.values()][0]
        return None


def _has_type(value_type: str, value: object) -> bool:
    # In Python a bool is an int, too.
    return isinstance(value, _VALUE_TYPES[value_type]) and not isinstance(value, bool)
