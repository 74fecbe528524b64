"""Test the search in ComfyUI's graphs."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdcli.interop.comfyui import read_comfyui
from sdcli.interop.comfyui_graph import Graph, Node
from sdcli.interop.foreign_record import json_object, shorten

GRAPH = Graph(
    {
        "1": Node("A", {"x": ["2", 0], "y": ["3", 0], "n": 5, "flag": True}),
        "2": Node("B", {"x": ["3", 0], "s": "text"}),
        "3": Node("C", {"x": ["1", 0], "n": 7}),
    }
)
IDS = st.sampled_from(["1", "2", "3", "4"])
INPUTS = st.dictionaries(
    st.sampled_from(["steps", "cfg", "sampler_name", "seed", "positive", "text", "sigmas"]),
    st.integers() | st.text(max_size=4) | st.tuples(IDS, st.just(0)).map(list) | st.none(),
)
GRAPHS = st.dictionaries(IDS, st.fixed_dictionaries({"class_type": st.text(), "inputs": INPUTS}))
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
)


def kinds(*start: str, **limits: tuple[str, ...]) -> list[str]:
    nodes = [GRAPH.nodes[name] for name in start]
    return [node.kind for node in GRAPH.upstream(*nodes, **limits)]


def test_upstream_visits_every_node_once_and_the_nearest_first() -> None:
    assert kinds("1") == ["A", "B", "C"]
    assert kinds("2", "1") == ["B", "A", "C"]
    assert kinds("1", via=("y",)) == ["A", "C"]
    assert kinds("1", exclude=("x",)) == ["A", "C"]


def test_values_are_searched_in_the_node_alone_unless_links_are_named() -> None:
    node = GRAPH.nodes["2"]
    assert GRAPH.number(node, "n") is None
    assert GRAPH.number(node, "n", via=("x",)) == 7
    assert GRAPH.text(node, "s") == "text"


def test_a_boolean_is_not_a_number() -> None:
    assert GRAPH.number(GRAPH.nodes["1"], "flag") is None


@pytest.mark.parametrize("link", [None, "1", ["1"], ["9", 0], [[], 0], ["1", 0, 0]])
def test_only_links_lead_to_nodes(link: object) -> None:
    assert GRAPH.node_at(link) is None
    assert GRAPH.node_at(["1", 0]) is GRAPH.nodes["1"]


@given(JSON | GRAPHS)
def test_any_json_is_a_graph_or_none(value: object) -> None:
    text = json.dumps(value)
    Graph.parse(text)
    record = read_comfyui(text)
    assert record is None or record.generator == "ComfyUI"


@given(JSON)
def test_values_are_shortened_to_text(value: object) -> None:
    text = shorten(value, 10)
    assert len(text) <= 10
    assert shorten(text, 10) == text


@pytest.mark.parametrize("text", ["", "[]", "3", "{", "[" * 9999])
def test_only_objects_are_json_objects(text: str) -> None:
    assert json_object(text) == {}
