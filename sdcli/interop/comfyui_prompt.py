"""Find the prompts of a sampler in ComfyUI's graphs, or the node where their trace ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from sdcli.interop.comfyui_graph import Graph, Node
from sdcli.interop.comfyui_text import Missing, Text, TextFinder

TEXT_INPUTS: Final = (
    "text", "text_g", "text_l", "clip_g", "clip_l", "t5xxl", "bert", "mt5xl", "prompt",
    "user_prompt",
)  # fmt: skip
"""Inputs of the nodes that encode text."""
_NO_TEXT: Final = frozenset(
    {"clip", "model", "vae", "image", "pixels", "latent", "latent_image", "samples", "control_net"}
    | {"mask", "style_model", "clip_vision_output", "image1", "image2", "image3", "hint"}
)
"""Inputs behind which there is no prompt."""
_DISCARDING: Final = ("ConditioningZeroOut", "EmptyConditioning")
"""Classes whose output does not depend on the prompt that they are given."""
_WILDCARD_ENCODER: Final = "wildcard_text"
_SIDES: Final = {
    "positive": ("positive", "conditioning", "cond1", "cond", "positive_cond"),
    "negative": ("negative", "neg_conditioning", "cond_negative", "negative_cond"),
    "second": ("cond2",),
}
"""Names of the inputs of samplers and guiders that take each prompt."""
_LOADED: Final = ("ckpt_name", "unet_name", "model_name")


def find_prompt(graph: Graph, sampler: Node, side: str) -> Text | None:
    """Return the prompt of one side ("positive", "negative", or "second" of a guider of two).

    Several texts are joined, each once. Missing says where the trace of one of them ends; None
    that the sampler has no such side.
    """
    links = list(_starts(graph, sampler, side))
    if not links:
        return Missing(sampler.place) if side == "positive" else None
    # A second conditioning passes through the same nodes as the first.
    walk = _Walk(graph, "negative" if side == "negative" else "positive")
    texts = [text for link in links for text in walk.texts(link)]
    for text in texts:
        if isinstance(text, Missing):
            return text
    if not texts and (node := graph.node_at(links[0])):
        # Nodes that link to nothing but each other.
        return Missing(node.place)
    stripped = (str(text).strip() for text in texts)
    return ", ".join(filter(None, dict.fromkeys(stripped)))


def _starts(graph: Graph, sampler: Node, side: str) -> Iterator[object]:
    """The sampler's or guider's own input of a side; else that of the pipe that feeds it."""
    pipes = [name for name in sampler.inputs if "pipe" in name.lower() or "context" in name.lower()]
    for via in (("guider",), tuple(pipes) or ("",)):
        for node in graph.upstream(sampler, via=via):
            for name in _SIDES[side]:
                value = node.inputs.get(name)
                if isinstance(value, str) or graph.is_link(value):
                    yield value
                    return


class _Walk:
    """Collect the texts of one side, visiting each node once."""

    def __init__(self, graph: Graph, side: str) -> None:
        self._graph = graph
        self._side = side
        self._finder = TextFinder(graph)
        self._visited: set[tuple[Node, str]] = set()

    def texts(self, start: object) -> Iterator[Text]:
        """Yield the texts that feed a link, nearest first, and Missing where a trace ends."""
        # A stack of its own: a graph can be deeper than Python's.
        pending: list[tuple[object, str]] = [(start, self._side)]
        while pending:
            link, side = pending.pop(0)
            if isinstance(link, str):
                yield link
                continue
            node = self._graph.node_at(link)
            if node is None:
                yield Missing(self._graph.place_of(link))
            elif (node, side) not in self._visited:
                self._visited.add((node, side))
                found, links = self._step(node, link, side)
                yield from found
                pending += links

    def _step(
        self, node: Node, link: object, side: str
    ) -> tuple[Sequence[Text], list[tuple[object, str]]]:
        """Return the texts of a node itself, and the links to follow from it."""
        if node.kind in _DISCARDING:
            return [""], []
        if _WILDCARD_ENCODER in node.inputs:
            return [self._finder.of_node(node)], []
        side = _side_of(node, link, side)
        texts = [
            self._finder.find(node.inputs[name])
            for name in TEXT_INPUTS
            if isinstance(node.inputs.get(name), str) or self._graph.is_link(node.inputs.get(name))
        ]
        if isinstance(own := node.inputs.get(side), str):
            # Loaders that also encode name their texts after the side.
            texts.append(own)
        other = "positive" if side == "negative" else "negative"
        links = [
            (value, side)
            for name, value in node.inputs.items()
            if self._graph.is_link(value) and name not in {*_NO_TEXT, *TEXT_INPUTS, other}
        ]
        if side in node.inputs:
            links = [(node.inputs[side], side)] if self._graph.is_link(node.inputs[side]) else []
        if not texts and not links:
            return [self._value(node)], []
        return texts, links

    def _value(self, node: Node) -> Text:
        """The text of a node that is linked where a loader encodes text."""
        is_text = any(name in node.inputs for name in ("string", "value"))
        return self._finder.of_node(node) if is_text else Missing(node.place)


def _side_of(node: Node, link: object, side: str) -> str:
    """The side that an output belongs to, of a node that takes both sides and returns both."""
    takes_both = all(isinstance(node.inputs.get(name), list) for name in ("positive", "negative"))
    # Loaders return the model first.
    if not takes_both or any(name in node.inputs for name in _LOADED):
        return side
    output = link[1] if isinstance(link, list) else None
    return {0: "positive", 1: "negative"}.get(output, side) if isinstance(output, int) else side
