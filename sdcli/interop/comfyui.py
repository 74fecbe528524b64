"""Read ComfyUI's graphs, which it embeds in its images as the chunk `prompt`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sdcli.interop.comfyui_graph import Graph, Node
from sdcli.interop.comfyui_prompt import TEXT_INPUTS, find_prompt
from sdcli.interop.comfyui_text import Missing
from sdcli.interop.foreign_record import ForeignRecord, shorten

_PART_INPUTS: Final = ("noise", "guider", "sampler", "sigmas")
"""Inputs of a sampler whose settings are separate nodes."""
_MODEL_INPUTS: Final = ("ckpt_name", "unet_name", "model_name")
_SETTINGS: Final = frozenset(
    {
        "seed",
        "noise_seed",
        "steps",
        "cfg",
        "cfg_conds",
        "sampler_name",
        "scheduler",
        *TEXT_INPUTS,
        *_MODEL_INPUTS,
    }
    | {"control_after_generate"}
)
_SCHEDULES: Final = {
    "KarrasScheduler": "karras",
    "ExponentialScheduler": "exponential",
    "BetaSamplingScheduler": "beta",
}
"""Node classes that make the sigmas of one schedule, and ComfyUI's names of it."""
_DEFAULTS: Final[Mapping[str, object]] = {
    "denoise": 1,
    "add_noise": "enable",
    "start_at_step": 0,
    "end_at_step": 10000,
    "return_with_leftover_noise": "disable",
}
"""Settings with their default values, which are left out."""
_KNOWN_NODES: Final = frozenset(
    {"CLIPTextEncode", "CLIPSetLastLayer", "CheckpointLoaderSimple", "EmptyLatentImage"}
    | {"KSampler", "KSamplerAdvanced", "KSamplerSelect", "SamplerCustom", "SamplerCustomAdvanced"}
    | {"BasicScheduler", "BasicGuider", "CFGGuider", "RandomNoise", "VAEDecode", "VAELoader"}
    | {"SaveImage", "PreviewImage", "PrimitiveNode", "Reroute", "LoraLoader", *_SCHEDULES}
)
"""Node classes whose settings are all read."""


def read_comfyui(text: str) -> ForeignRecord | None:
    """Read the graph in a chunk `prompt`, None when it has no sampler. Never raises."""
    graph = Graph.parse(text)
    sampler = graph.first_sampler()
    if sampler is None:
        return None
    width, height = _find_size(graph, sampler)
    vaes = (graph.text(node, "vae_name") for node in graph.nodes.values())
    sides = {
        "prompt": find_prompt(graph, sampler, "positive"),
        "negative_prompt": find_prompt(graph, sampler, "negative"),
    }
    fields: dict[str, object] = {
        **{name: text for name, text in sides.items() if not isinstance(text, Missing)},
        **_find_scheduler(graph, sampler),
        "num_inference_steps": graph.number(sampler, "steps", via=_PART_INPUTS),
        "guidance_scale": graph.number(sampler, "cfg", "cfg_conds", via=_PART_INPUTS),
        "seed": graph.number(sampler, "seed", "noise_seed", via=_PART_INPUTS),
        "width": width,
        "height": height,
        "clip_skip": _find_clip_skip(graph),
        "model": graph.text(sampler, *_MODEL_INPUTS, via=("model", "guider")),
        "vae": next(filter(None, vaes), None),
    }
    return ForeignRecord(
        generator="ComfyUI",
        fields=fields,
        extra=_find_extra(graph, sampler),
        not_found={name: t.place for name, t in sides.items() if isinstance(t, Missing)},
    )


def _find_scheduler(graph: Graph, sampler: Node) -> dict[str, str | None]:
    """Sampler and schedule, by ComfyUI's names."""
    sampler_nodes = list(graph.upstream(sampler, via=("sampler",)))
    name = graph.text(sampler, "sampler_name", via=("sampler",)) or sampler_nodes[-1].kind
    schedule = graph.text(sampler, "scheduler", via=("sigmas",))
    if schedule is None:
        kinds = [node.kind for node in graph.upstream(sampler, via=("sigmas",))][1:]
        # The farthest node makes the sigmas; those after it split or reverse them.
        schedule = next((_SCHEDULES.get(kind, kind) for kind in reversed(kinds)), None)
    return {
        "scheduler": str(name),
        "schedule": None if schedule in (None, "normal") else str(schedule),
    }


def _find_size(graph: Graph, sampler: Node) -> tuple[object, object]:
    """Width and height of the latents that the sampler starts from."""
    for node in graph.upstream(sampler, via=("latent_image", "latent", "samples")):
        width, height = graph.number(node, "width"), graph.number(node, "height")
        if width and height:
            return width, height
    return None, None


def _find_clip_skip(graph: Graph) -> int | None:
    """Skipped layers; ComfyUI counts layers from the end, with -1 as the last."""
    layers = (graph.number(node, "stop_at_clip_layer") for node in graph.nodes.values())
    layer = next(filter(None, layers), None)
    return -layer - 1 if isinstance(layer, int) and layer < -1 else None


def _find_extra(graph: Graph, sampler: Node) -> dict[str, object]:
    """Other settings of the sampler, LoRAs, further samplers, and the remaining nodes."""
    settings = {
        name: value
        for node in graph.upstream(sampler, via=_PART_INPUTS)
        for name, value in node.inputs.items()
        if not isinstance(value, list) and name not in _SETTINGS and value != _DEFAULTS.get(name)
    }
    loras = [
        f"{node.inputs['lora_name']} {shorten(node.inputs.get('strength_model', 1))}"
        for node in graph.nodes.values()
        if isinstance(node.inputs.get("lora_name"), str)
    ]
    samplers = [
        node.kind for node in graph.nodes.values() if node.is_sampler and node is not sampler
    ]
    nodes = sorted({node.kind for node in graph.nodes.values()} - _KNOWN_NODES - {*samplers})
    second = find_prompt(graph, sampler, "second")
    if isinstance(second, str):
        settings["second prompt"] = second
    named = {"LoRA": loras, "further samplers": samplers, "nodes": nodes}
    return settings | {name: ", ".join(values) for name, values in named.items() if values}
