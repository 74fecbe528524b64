"""Read ComfyUI's workflows, which describe the canvas, as the graphs that ComfyUI runs.

Programs that save ComfyUI's images can keep the workflow and lose the graph. A workflow lists the
values of a node without their names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sdcli.interop.foreign_record import json_object

_CONTROLS: Final = ("fixed", "increment", "decrement", "randomize")
"""Values beside a seed, of a widget that the node itself does not have."""
_MUTED: Final = 2
_BYPASSED: Final = 4

_SEEDED: Final = ("seed", "noise_seed")
_KSAMPLER: Final = ("seed", "steps", "cfg", "sampler_name", "scheduler", "denoise")
_WIDGETS: Final[Mapping[str, tuple[str, ...]]] = {
    "KSampler": _KSAMPLER,
    "KSamplerAdvanced": (
        "add_noise", "noise_seed", "steps", "cfg", "sampler_name", "scheduler", "start_at_step",
        "end_at_step", "return_with_leftover_noise",
    ),
    "SamplerCustom": ("add_noise", "noise_seed", "cfg"),
    "KSamplerSelect": ("sampler_name",),
    "BasicScheduler": ("scheduler", "steps", "denoise"),
    "KarrasScheduler": ("steps", "sigma_max", "sigma_min", "rho"),
    "ExponentialScheduler": ("steps", "sigma_max", "sigma_min"),
    "BetaSamplingScheduler": ("steps", "alpha", "beta"),
    "CFGGuider": ("cfg",),
    "RandomNoise": ("noise_seed",),
    "CLIPTextEncode": ("text",),
    "CLIPSetLastLayer": ("stop_at_clip_layer",),
    "CheckpointLoaderSimple": ("ckpt_name",),
    "UNETLoader": ("unet_name", "weight_dtype"),
    "VAELoader": ("vae_name",),
    "LoraLoader": ("lora_name", "strength_model", "strength_clip"),
    "LoraLoaderModelOnly": ("lora_name", "strength_model"),
    "EmptyLatentImage": ("width", "height", "batch_size"),
    "EmptySD3LatentImage": ("width", "height", "batch_size"),
    "PrimitiveNode": ("value",),
    "PrimitiveString": ("value",),
    "PrimitiveStringMultiline": ("value",),
    "PrimitiveInt": ("value",),
    "PrimitiveFloat": ("value",),
    "StringConcatenate": ("string_a", "string_b", "delimiter"),
    "SaveImage": ("filename_prefix",),
}  # fmt: skip
"""The widgets of ComfyUI's own nodes, in their order. Newer workflows name them themselves."""


def to_graph(text: str) -> str:
    """Return a workflow as the JSON of its graph, an empty text for anything else. Never raises."""
    workflow = json_object(text)
    listed = workflow.get("nodes")
    nodes = {
        str(node["id"]): node
        for node in (listed if isinstance(listed, list) else ())
        if isinstance(node, dict) and "id" in node and isinstance(node.get("type"), str)
    }
    links = _read_links(workflow.get("links"))
    graph = {
        key: {"class_type": node["type"], "inputs": dict(_inputs(node, nodes, links))}
        for key, node in nodes.items()
        if node.get("mode") not in (_MUTED, _BYPASSED)
    }
    return json.dumps(graph) if graph else ""


def _read_links(listed: object) -> dict[object, tuple[str, int]]:
    """Return the (node, output) that each link comes from."""
    links: dict[object, tuple[str, int]] = {}
    for link in listed if isinstance(listed, list) else ():
        if isinstance(link, dict):
            link = [link.get("id"), link.get("origin_id"), link.get("origin_slot")]
        if isinstance(link, list) and len(link) >= 3 and isinstance(link[0], int | str):
            links[link[0]] = (str(link[1]), link[2] if isinstance(link[2], int) else 0)
    return links


def _inputs(
    node: Mapping[str, Any], nodes: Mapping[str, Any], links: Mapping[object, tuple[str, int]]
) -> Iterator[tuple[str, object]]:
    """Yield the inputs of a node: the values of its widgets, and over them its links."""
    yield from _widget_values(node)
    for entry in _entries(node):
        if origin := _origin(entry.get("link"), nodes, links):
            yield str(entry.get("name", "")), list(origin)


def _widget_values(node: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    values = node.get("widgets_values")
    if isinstance(values, dict):
        yield from ((str(name), value) for name, value in values.items())
        return
    named = (e for e in _entries(node) if isinstance(e.get("widget"), dict))
    names = _WIDGETS.get(node["type"]) or tuple(map(_widget_name, named))
    left = list(values) if isinstance(values, list) else []
    for name in names:
        if not left:
            return
        value = left.pop(0)
        yield name, str(value) if isinstance(value, list) else value
        if name in _SEEDED and left and left[0] in _CONTROLS:
            left.pop(0)


def _widget_name(entry: Mapping[str, Any]) -> str:
    return str(entry["widget"].get("name", entry.get("name", "")))


def _entries(node: Mapping[str, Any]) -> list[dict[str, Any]]:
    listed = node.get("inputs")
    return [e for e in listed if isinstance(e, dict)] if isinstance(listed, list) else []


def _origin(
    link: object, nodes: Mapping[str, Any], links: Mapping[object, tuple[str, int]]
) -> tuple[str, int] | None:
    """Return where a link comes from, past nodes that are bypassed; None from one that is muted."""
    visited: set[object] = set()
    while isinstance(link, int | str) and link in links and link not in visited:
        visited.add(link)
        key, output = links[link]
        node = nodes.get(key, {})
        if node.get("mode") == _MUTED:
            return None
        if node.get("mode") != _BYPASSED:
            return key, output
        link = _passed_link(node, output)
    return None


def _passed_link(node: Mapping[str, Any], output: int) -> object:
    """Return the link of a bypassed node's first input of the type that the output has."""
    listed = node.get("outputs")
    outputs = listed if isinstance(listed, list) else []
    found = outputs[output] if 0 <= output < len(outputs) else None
    kind = found.get("type") if isinstance(found, dict) else None
    return next((e.get("link") for e in _entries(node) if e.get("type") == kind), None)
