"""How ComfyUI made an image, from the graph that it ran: its chunk `prompt`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from sdcli.interop.comfyui_graph import Graph, Node
from sdcli.interop.foreign_record import ForeignRecord, shorten

_PARTS: Final = ("noise", "guider", "sampler", "sigmas")
"""Inputs of a node that samples, where its settings are nodes of their own."""
_TEXTS: Final = ("text", "text_g", "text_l", "clip_l", "t5xxl", "prompt")
_NO_TEXT: Final = frozenset(
    {"clip", "model", "vae", "image", "pixels", "latent", "latent_image", "samples", "control_net"}
)
_MODELS: Final = ("ckpt_name", "unet_name", "model_name")
_SETTINGS: Final = frozenset(
    {"seed", "noise_seed", "steps", "cfg", "sampler_name", "scheduler", *_TEXTS, *_MODELS}
    | {"control_after_generate"}
)
_SCHEDULES: Final = {
    "KarrasScheduler": "karras",
    "ExponentialScheduler": "exponential",
    "BetaSamplingScheduler": "beta",
}
"""Nodes that are one schedule each."""
_AS_EVER: Final[Mapping[str, object]] = {
    "denoise": 1,
    "add_noise": "enable",
    "start_at_step": 0,
    "end_at_step": 10000,
    "return_with_leftover_noise": "disable",
}
"""Settings that say nothing."""
_READ: Final = frozenset(
    {"CLIPTextEncode", "CLIPSetLastLayer", "CheckpointLoaderSimple", "EmptyLatentImage"}
    | {"KSampler", "KSamplerAdvanced", "KSamplerSelect", "SamplerCustom", "SamplerCustomAdvanced"}
    | {"BasicScheduler", "BasicGuider", "CFGGuider", "RandomNoise", "VAEDecode", "VAELoader"}
    | {"SaveImage", "PreviewImage", "PrimitiveNode", "Reroute", "LoraLoader", *_SCHEDULES}
)
"""Nodes of which all is told."""


def read_comfyui(text: str) -> ForeignRecord | None:
    """The record in a graph, None where nothing samples. Raises nothing for what stands in it."""
    graph = Graph.parse(text)
    sampler = graph.first_sampler()
    if sampler is None:
        return None
    width, height = _size(graph, sampler)
    found: dict[str, object] = {
        "prompt": _prompt(graph, sampler, "positive"),
        "negative_prompt": _prompt(graph, sampler, "negative"),
        "scheduler": _scheduler(graph, sampler),
        "num_inference_steps": graph.number(sampler, "steps", via=_PARTS),
        "guidance_scale": graph.number(sampler, "cfg", via=_PARTS),
        "seed": graph.number(sampler, "seed", "noise_seed", via=_PARTS),
        "width": width,
        "height": height,
        "clip_skip": _clip_skip(graph),
        "model": graph.text(sampler, *_MODELS, via=("model", "guider")),
        "vae": next((v for n in graph.nodes.values() if (v := graph.text(n, "vae_name"))), None),
    }
    return ForeignRecord(generator="ComfyUI", fields=found, extra=_other(graph, sampler))


def _prompt(graph: Graph, sampler: Node, side: str) -> str:
    """All text that feeds one side of the sampler, each once."""
    names = ("positive", "conditioning") if side == "positive" else (side,)
    guiders = list(graph.upstream(sampler, via=("guider",)))
    starts = [graph.node_at(node.inputs.get(name)) for node in guiders for name in names]
    # Some nodes take both sides and give both.
    elsewhere = {*_NO_TEXT, *_TEXTS, "positive" if side == "negative" else "negative"}
    found = [
        str(text).strip()
        for node in graph.upstream(*starts, but=elsewhere)
        if node.kind != "ConditioningZeroOut"
        for text in _texts(graph, node, side)
    ]
    return ", ".join(filter(None, dict.fromkeys(found)))


def _texts(graph: Graph, node: Node, side: str) -> Iterator[object]:
    """The texts of a node; loaders that encode, too, have them by the name of their side."""
    yield from filter(None, (graph.text(node, name) for name in _TEXTS))
    if isinstance(node.inputs.get(side), str):
        yield node.inputs[side]


def _scheduler(graph: Graph, sampler: Node) -> str | None:
    """Sampler and schedule by ComfyUI's names."""
    parts = list(graph.upstream(sampler, via=("sampler",)))
    name = graph.text(sampler, "sampler_name", via=("sampler",)) or parts[-1].kind
    schedule = graph.text(sampler, "scheduler", via=("sigmas",))
    if schedule is None:
        kinds = [node.kind for node in graph.upstream(sampler, via=("sigmas",))][1:]
        schedule = next((_SCHEDULES.get(kind, kind) for kind in reversed(kinds)), None)
    return str(name) if schedule in (None, "normal") else f"{name} {schedule}"


def _size(graph: Graph, sampler: Node) -> tuple[object, object]:
    """Width and height of the latents that the sampler began with."""
    for node in graph.upstream(sampler, via=("latent_image", "latent", "samples")):
        width, height = graph.number(node, "width"), graph.number(node, "height")
        if width and height:
            return width, height
    return None, None


def _clip_skip(graph: Graph) -> int | None:
    """ComfyUI counts layers from the end, -1 being the last."""
    layers = (graph.number(node, "stop_at_clip_layer") for node in graph.nodes.values())
    layer = next(filter(None, layers), None)
    return -layer - 1 if isinstance(layer, int) and layer < -1 else None


def _other(graph: Graph, sampler: Node) -> dict[str, object]:
    """What the sampler was told besides, and what else was in the graph."""
    settings = {
        name: value
        for node in graph.upstream(sampler, via=_PARTS)
        for name, value in node.inputs.items()
        if not isinstance(value, list) and name not in _SETTINGS and value != _AS_EVER.get(name)
    }
    loras = [
        f"{node.inputs['lora_name']} {shorten(node.inputs.get('strength_model', 1))}"
        for node in graph.nodes.values()
        if isinstance(node.inputs.get("lora_name"), str)
    ]
    samplers = [
        node.kind for node in graph.nodes.values() if node.is_sampler and node is not sampler
    ]
    nodes = sorted({node.kind for node in graph.nodes.values()} - _READ - {*samplers})
    named = {"LoRA": loras, "further samplers": samplers, "nodes": nodes}
    return settings | {name: ", ".join(values) for name, values in named.items() if values}
