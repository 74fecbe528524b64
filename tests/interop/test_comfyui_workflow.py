"""Test that a workflow without its graph gives the same settings, or says what is missing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sdcli.interop import comfyui
from sdcli.interop.comfyui_workflow import to_graph
from sdcli.interop.export import missing_prompt, to_request_fields
from sdcli.interop.readers import read_foreign
from tests.interop.images import png
from tests.interop.test_comfyui import FIELDS

SAMPLER = [5, "randomize", 20, 8.0, "dpmpp_2m", "karras", 1.0]


def node(number: int, kind: str, values: Any, mode: int = 0, **links: int) -> dict[str, Any]:
    """A node of a workflow; its links are numbered as the nodes that they come from."""
    inputs = [{"name": name, "type": name.upper(), "link": link} for name, link in links.items()]
    entry = {"id": number, "type": kind, "mode": mode, "inputs": inputs, "widgets_values": values}
    return entry | {"outputs": [{"type": "MODEL"}, {"type": "CLIP"}]}


def workflow(*changed: dict[str, Any], sources: Any = ()) -> str:
    """The JSON of a workflow of ComfyUI's own nodes, with some of them replaced."""
    sampler_links = {"model": 1, "positive": 2, "negative": 3, "latent_image": 4}
    nodes = {
        1: node(1, "CheckpointLoaderSimple", ["sd15.safetensors"]),
        2: node(2, "CLIPTextEncode", ["a cat"], clip=1),
        3: node(3, "CLIPTextEncode", ["a dog"], clip=1),
        4: node(4, "EmptyLatentImage", [512, 640, 1]),
        5: node(5, "KSampler", SAMPLER, **sampler_links),
        6: node(6, "VAEDecode", None, samples=5, vae=1),
        7: node(7, "SaveImage", ["ComfyUI"], images=6),
    } | {entry["id"]: entry for entry in changed}
    links = [[number, number, 0, 0, 0, "*"] for number in nodes]
    return json.dumps({"nodes": list(nodes.values()), "links": [*links, *sources]})


def read(text: str) -> Any:
    return comfyui.read_comfyui(to_graph(text))


def fields(text: str) -> dict[str, Any]:
    return to_request_fields(read(text))[0]


ENCODER = node(2, "CLIPTextEncode", ["overridden"], clip=1, text=9)
SAME = {
    "plain": workflow(),
    "a linked text": workflow(ENCODER, node(9, "PrimitiveStringMultiline", ["a cat"])),
    "a bypassed LoRA": workflow(
        node(5, "KSampler", SAMPLER, model=8, positive=2, negative=3, latent_image=4),
        node(8, "LoraLoaderModelOnly", ["x.safetensors", 1.0], 4, MODEL=1) | {
            "inputs": [{"name": "model", "type": "MODEL", "link": 1}]
        },
    ),
    "widgets that are named": workflow(
        node(5, "SomeSampler", SAMPLER) | {
            "inputs": [
                *({"name": n, "type": "*", "link": i} for n, i in
                  (("model", 1), ("positive", 2), ("negative", 3), ("latent_image", 4))),
                *({"name": n, "type": "*", "link": None, "widget": {"name": n}} for n in
                  ("seed", "steps", "cfg", "sampler_name", "scheduler", "denoise")),
            ]
        },
    ),
    "values as an object": workflow(node(4, "Unknown", {"width": 512, "height": 640})),
    "a linked seed": workflow(
        node(5, "KSampler", [0, *SAMPLER[1:]], model=1, positive=2, negative=3, latent_image=4,
             seed=9),
        node(9, "PrimitiveNode", [5, "fixed"]),
    ),
    "a second sampler that is muted": workflow(
        node(6, "VAEDecode", None, samples=5, vae=1),
        node(9, "KSampler", [1, "fixed", 2, 3.0, "euler", "normal", 0.5], 2, latent_image=5),
    ),
}  # fmt: skip


@pytest.mark.parametrize("text", SAME.values(), ids=SAME.keys())
def test_a_workflow_says_what_its_graph_says(text: str) -> None:
    assert fields(text) == FIELDS


@pytest.mark.parametrize(
    ("entry", "place"),
    [
        (node(9, "WildcardProcessor", ["{a|b}"]), "node 9 (WildcardProcessor)"),
        (node(9, "Unknown", ["a cat", "b"]), "node 9 (Unknown)"),
        (node(9, "Unknown", None), "node 9 (Unknown)"),
    ],
)
def test_a_prompt_that_is_not_found_is_named_by_its_node(entry: Any, place: str) -> None:
    record = read(workflow(ENCODER, entry))
    assert "prompt" not in record.fields
    assert missing_prompt(record) == f"prompt not found: {place}"


def test_the_graph_that_ran_comes_first_and_a_workflow_alone_is_doubted(tmp_path: Any) -> None:
    alone = read_foreign(png(tmp_path / "a.png", {"workflow": workflow()}), None)
    assert alone is not None
    assert to_request_fields(alone)[0] == FIELDS
    assert alone.doubts == ("it holds ComfyUI's workflow without the graph that ran",)
    graph = to_graph(workflow(node(2, "CLIPTextEncode", ["a fox"], clip=1)))
    both = read_foreign(png(tmp_path / "b.png", {"workflow": workflow(), "prompt": graph}), None)
    assert both is not None
    assert (both.fields["prompt"], both.doubts) == ("a fox", ())


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "[]", "{}", '{"nodes": {}}', '{"nodes": [1, {"id": 2}]}', '{"nodes": null}',
        '{"nodes": [{"id": 1, "type": "KSampler", "inputs": 3, "widgets_values": 4}]}',
        '{"nodes": [{"id": 1, "type": "KSampler", "inputs": [{"link": []}]}], "links": [[1], 2]}',
        '{"nodes": [{"id": 1, "type": "A", "mode": 4, "inputs": [{"link": 1}], "outputs": 1}, '
        '{"id": 2, "type": "B", "inputs": [{"link": 1}]}], "links": [[1, 1, 0]]}',
    ],
)  # fmt: skip
def test_anything_else_has_no_record(text: str) -> None:
    assert read(text) is None
