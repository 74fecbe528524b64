"""Test that settings are found in ComfyUI's graphs, however these are linked."""

from __future__ import annotations

import json
import time

from sdcli.interop import comfyui
from sdcli.interop.export import to_request_fields, unmapped_fields

BASE = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd15.safetensors"}},
    "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat", "clip": ["1", 1]}},
    "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "a dog", "clip": ["1", 1]}},
    "4": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 640}},
}
SETTINGS = {
    "seed": 5, "steps": 20, "cfg": 8.0, "sampler_name": "dpmpp_2m", "scheduler": "karras",
    "denoise": 1.0, "model": ["1", 0], "positive": ["2", 0], "negative": ["3", 0],
    "latent_image": ["4", 0],
}  # fmt: skip
PLAIN = {**BASE, "5": {"class_type": "KSampler", "inputs": SETTINGS}}
FIELDS = {
    "prompt": "a cat", "negative_prompt": "a dog", "scheduler": "dpmpp_2m karras",
    "num_inference_steps": 20, "guidance_scale": 8.0, "seed": 5, "width": 512, "height": 640,
}  # fmt: skip
CUSTOM = {
    **BASE,
    "5": {
        "class_type": "SamplerCustomAdvanced",
        "inputs": {
            "noise": ["6", 0], "guider": ["7", 0], "sampler": ["8", 0], "sigmas": ["9", 0],
            "latent_image": ["4", 0],
        },
    },
    "6": {"class_type": "RandomNoise", "inputs": {"noise_seed": 5}},
    "7": {
        "class_type": "CFGGuider",
        "inputs": {"model": ["1", 0], "positive": ["2", 0], "negative": ["3", 0], "cfg": 8.0},
    },
    "8": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "dpmpp_2m"}},
    "9": {
        "class_type": "BasicScheduler",
        "inputs": {"model": ["1", 0], "scheduler": "karras", "steps": 20, "denoise": 1.0},
    },
}  # fmt: skip


def read_fields(graph):
    """The fields of a request in a graph, and the values left out."""
    reading = comfyui.read_comfyui(json.dumps(graph))
    assert reading is not None
    taken, left = to_request_fields(reading)
    return taken, left | unmapped_fields(reading)


def sampler(graph, **inputs):
    """The graph with other inputs of its KSampler."""
    return {**graph, "5": {"class_type": "KSampler", "inputs": SETTINGS | inputs}}


def test_a_plain_graph_and_one_of_parts_say_the_same():
    assert read_fields(PLAIN) == (FIELDS, {"model": "sd15.safetensors"})
    assert read_fields(CUSTOM) == (FIELDS, {"model": "sd15.safetensors"})


def test_the_order_of_the_nodes_does_not_matter():
    for graph in (PLAIN, CUSTOM):
        assert read_fields(dict(reversed(graph.items()))) == read_fields(graph)


def test_a_model_is_found_behind_its_loras():
    lora = {"lora_name": "x.safetensors", "strength_model": 0.8, "model": ["1", 0]}
    graph = sampler(PLAIN, model=["10", 0]) | {"10": {"class_type": "LoraLoader", "inputs": lora}}
    taken, left = read_fields(graph)
    assert taken == FIELDS
    assert left == {"model": "sd15.safetensors", "LoRA": "x.safetensors 0.8"}


def test_a_linked_seed_and_a_linked_text_are_followed():
    graph = sampler(PLAIN, seed=["10", 0]) | {
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": ["11", 0], "clip": ["1", 1]}},
        "10": {"class_type": "Seed Everywhere", "inputs": {"seed": 6, "note": "x"}},
        "11": {"class_type": "ShowText", "inputs": {"text": ["12", 0]}},
        "12": {"class_type": "PrimitiveString", "inputs": {"value": "a fish"}},
    }
    taken, left = read_fields(graph)
    assert (taken["seed"], taken["prompt"]) == (6, "a fish")
    assert left["nodes"] == "PrimitiveString, Seed Everywhere, ShowText"


def test_both_sides_through_one_node_stay_apart():
    control = {"positive": ["2", 0], "negative": ["3", 0], "strength": 0.5, "image": ["12", 0]}
    graph = sampler(PLAIN, positive=["10", 0], negative=["10", 1]) | {
        "10": {"class_type": "ControlNetApplyAdvanced", "inputs": control},
        "12": {"class_type": "LoadImage", "inputs": {"image": "x.png", "text": "no prompt"}},
    }
    taken, left = read_fields(graph)
    assert taken == FIELDS
    assert left["nodes"] == "ControlNetApplyAdvanced, LoadImage"


def test_prompts_of_several_nodes_are_joined_each_once():
    both = {"conditioning_1": ["2", 0], "conditioning_2": ["11", 0], "third": ["2", 0]}
    graph = sampler(PLAIN, positive=["10", 0], negative=["12", 0]) | {
        "10": {"class_type": "ConditioningCombine", "inputs": both},
        "11": {"class_type": "CLIPTextEncodeSDXL", "inputs": {"text_g": "big", "text_l": "big"}},
        "12": {"class_type": "ConditioningZeroOut", "inputs": {"conditioning": ["13", 0]}},
        "13": {"class_type": "FluxGuidance", "inputs": {"guidance": 3.5}},
    }
    taken, _ = read_fields(graph)
    assert taken["prompt"] == "a cat, big"
    assert "negative_prompt" not in taken


def test_a_guider_of_one_side_and_a_schedule_node():
    graph = CUSTOM | {
        "7": {"class_type": "BasicGuider", "inputs": {"model": ["1", 0], "conditioning": ["2", 0]}},
        "9": {"class_type": "SplitSigmas", "inputs": {"sigmas": ["10", 0], "step": 3}},
        "10": {"class_type": "ExponentialScheduler", "inputs": {"steps": 12, "sigma_max": 14.6}},
    }
    taken, left = read_fields(graph)
    assert taken["prompt"] == "a cat"
    assert (taken["scheduler"], taken["num_inference_steps"]) == ("dpmpp_2m exponential", 12)
    assert (left["sigma_max"], left["step"], left["nodes"]) == ("14.6", "3", "SplitSigmas")


def test_a_sampler_or_schedule_that_nobody_knows_is_left_out_and_named():
    _, left = read_fields(CUSTOM | {"8": {"class_type": "SamplerMine", "inputs": {"power": 2}}})
    assert left["scheduler"] == "SamplerMine karras"
    _, left = read_fields(CUSTOM | {"9": {"class_type": "MySigmas", "inputs": {"steps": 2}}})
    assert left["schedule"] == "MySigmas"


def test_of_two_samplers_the_first_one_counts():
    graph = {
        "20": {"class_type": "KSampler", "inputs": SETTINGS | {"latent_image": ["21", 0]}},
        "21": {"class_type": "LatentUpscale", "inputs": {"samples": ["5", 0], "width": 1024}},
        **sampler(PLAIN, seed=9),
    }
    taken, left = read_fields(graph)
    assert (taken["seed"], taken["width"], taken["height"]) == (9, 512, 640)
    assert left["further samplers"] == "KSampler"


def test_settings_without_a_field_are_listed():
    graph = sampler(PLAIN, denoise=0.6) | {
        "10": {"class_type": "CLIPSetLastLayer", "inputs": {"stop_at_clip_layer": -2}},
        "11": {"class_type": "VAELoader", "inputs": {"vae_name": "mse.safetensors"}},
    }
    taken, left = read_fields(graph)
    assert taken["clip_skip"] == 1
    assert (left["vae"], left["denoise"]) == ("mse.safetensors", "0.6")


def test_cyclic_and_malformed_graphs_do_not_raise():
    ring = {
        "1": {"class_type": "KSampler", "inputs": SETTINGS | {"latent_image": ["2", 0]}},
        "2": {"class_type": "KSampler", "inputs": SETTINGS | {"latent_image": ["1", 0]}},
    }
    for graph in (ring, PLAIN | {"2": 3, "3": {"inputs": []}}, {"5": PLAIN["5"]}):
        taken, _ = read_fields(graph)
        assert taken["num_inference_steps"] == 20
    for text in ("", "[]", "{}", json.dumps(BASE), "[" * 9999, '{"1": {"inputs": {"a": [[], 0]}}}'):
        assert comfyui.read_comfyui(text) is None


def test_a_large_graph_takes_no_long_time():
    chain = {
        str(i): {
            "class_type": "CLIPTextEncode",
            "inputs": {"text": [str(i + 1), 0], "conditioning": [str(i + 1), 0], "b": [str(i), 0]},
        }
        for i in range(10, 900)
    }
    began = time.perf_counter()
    read_fields(sampler(PLAIN, positive=["10", 0], seed=["10", 0]) | chain)
    assert time.perf_counter() - began < 5
    assert (
        comfyui.read_comfyui(json.dumps(PLAIN | {str(i): BASE["1"] for i in range(100, 1200)}))
        is None
    )
