"""Test that ComfyUI's prompts are followed through its nodes, and named where their trace ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sdcli.interop.comfyui import read_comfyui
from sdcli.interop.foreign_record import ForeignRecord
from tests.interop.images import png


def node(kind: str, **inputs: object) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


SAMPLER = node(
    "KSampler", seed=5, steps=20, cfg=8.0, sampler_name="euler", scheduler="normal", denoise=1.0,
    model=["1", 0], positive=["2", 0], negative=["3", 0], latent_image=["4", 0],
)  # fmt: skip
BASE = {
    "1": node("CheckpointLoaderSimple", ckpt_name="sd15.safetensors"),
    "2": node("CLIPTextEncode", text=["20", 0], clip=["1", 1]),
    "3": node("CLIPTextEncode", text="a dog", clip=["1", 1]),
    "4": node("EmptyLatentImage", width=512, height=512, batch_size=1),
    "5": SAMPLER,
    "6": node("VAEDecode", samples=["5", 0], vae=["1", 2]),
    "7": node("SaveImage", images=["6", 0], filename_prefix="x"),
}
A, B = node("PrimitiveString", value="a cat"), node("String Literal", string="a hat")


def read(graph: dict[str, Any]) -> ForeignRecord:
    record = read_comfyui(json.dumps(graph))
    assert record is not None
    return record


TEXTS = {
    "PrimitiveStringMultiline": (node("PrimitiveStringMultiline", value="x\ny"), "x\ny"),
    "PrimitiveNode": (node("PrimitiveNode", value="x"), "x"),
    "Text Multiline": (node("Text Multiline", text="x"), "x"),
    "easy positive": (node("easy positive", positive="x"), "x"),
    "CR Text": (node("CR Text", text="x"), "x"),
    "Reroute": (node("Reroute", **{"": ["21", 0]}), "a cat"),
    "ShowText": (node("ShowText|pysssss", text=["21", 0], text_0="an earlier text"), "a cat"),
    "StringConcatenate": (
        node("StringConcatenate", string_a=["21", 0], string_b=["22", 0], delimiter=" with "),
        "a cat with a hat",
    ),
    "Text Concatenate": (
        node("Text Concatenate", text_b=["22", 0], text_a=["21", 0], text_c="", delimiter=", ",
             clean_whitespace="true"),
        "a cat, a hat",
    ),
    "JoinStrings": (
        node("JoinStrings", string1=["21", 0], string2=["22", 0], delimiter="\\n"), "a cat\na hat",
    ),
    "CR Text Concatenate": (
        node("CR Text Concatenate", text1=["21", 0], text2="in a box", separator=" "),
        "a cat in a box",
    ),
    "JoinStringMulti": (
        node("JoinStringMulti", inputcount=10, string_10="z", string_2="b", string_1="a",
             delimiter=" "),
        "a b z",
    ),
    "easy promptConcat": (
        node("easy promptConcat", prompt1=["21", 0], prompt2=["22", 0], separator=""),
        "a cata hat",
    ),
    "StringFunction": (
        node("StringFunction|pysssss", action="append", tidy_tags="yes", text_a=["21", 0],
             text_b="sitting,", text_c=["22", 0]),
        "a cat, sitting, a hat",
    ),
    "StringReplace": (node("StringReplace", string=["21", 0], find="cat", replace="fox"), "a fox"),
    "StringTrim": (node("StringTrim", string="  x ", mode="Left"), "x"),
    "CaseConverter": (node("CaseConverter", string=["21", 0], mode="UPPERCASE"), "A CAT"),
    "ImpactSwitch": (node("ImpactSwitch", select=2, input1=["21", 0], input2=["22", 0]), "a hat"),
    "ComfySwitchNode": (
        node("ComfySwitchNode", switch=True, on_false=["21", 0], on_true=["22", 0]), "a hat",
    ),
    "ImpactWildcardProcessor": (
        node("ImpactWildcardProcessor", wildcard_text="a {red|blue} cat", mode="populate",
             populated_text="a red cat", seed=1),
        "a red cat",
    ),
    "empty": (node("Text Multiline", text=""), ""),
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_texts_are_followed_through_nodes(name: str) -> None:
    made, text = TEXTS[name]
    record = read({**BASE, "20": made, "21": A, "22": B})
    assert record.fields["prompt"] == text
    assert record.fields["negative_prompt"] == "a dog"
    assert record.not_found == {}


LOST = {
    "wildcards": node("ImpactWildcardProcessor", wildcard_text="__x__", populated_text="", seed=1),
    "dynamic prompts": node("DPRandomGenerator", text="a {b|c}", seed=1, autorefresh="No"),
    "random line": node("Random Text Line", text="a\nb", seed=3),
    "a file": node("Load Text File", file_path="x.txt"),
    "a language model": node("OllamaGenerate", prompt="describe a cat", model="llama"),
    "a caption": node("WD14Tagger|pysssss", image=["4", 0], model="wd", tags="a"),
    "a regular expression": node("RegexReplace", string=["21", 0], regex_pattern="(a+)+$"),
    "find and replace": node("Text Find and Replace", text=["21", 0], find="a", replace="b"),
    "a prefix": node("MyText", text=["21", 0], prefix="x"),
    "two texts": node("MyNode", text="a", string="b"),
    "nothing": node("MyNode", number=3),
    "itself": node("Reroute", **{"": ["20", 0]}),
    "a switch": node("Text Switch", input1=["21", 0], input2=["22", 0]),
    "joined with a wildcard": node("StringConcatenate", string_a=["21", 0], string_b=["23", 0]),
}


@pytest.mark.parametrize("name", LOST)
def test_a_trace_that_ends_is_named_and_never_empty(name: str) -> None:
    wild = node("DPRandomGenerator", text="x")
    record = read({**BASE, "20": LOST[name], "21": A, "22": B, "23": wild})
    assert "prompt" not in record.fields
    place = record.not_found["prompt"]
    last = "23" if "joined" in name else "20"
    kind = wild["class_type"] if last == "23" else LOST[name]["class_type"]
    assert place == f"node {last} ({kind})"


def test_a_node_that_the_graph_lacks_is_named() -> None:
    assert read(BASE).not_found == {"prompt": "node 20, which the graph lacks"}
    bare = {**BASE, "5": node("KSampler", sampler_name="euler", steps=1, cfg=1.0)}
    assert read(bare).not_found == {"prompt": "node 5 (KSampler)"}


TEXT = node("CLIPTextEncode", text="a cat", clip=["1", 1])
MORE = node("CLIPTextEncode", text="a hat", clip=["1", 1])
CONDITIONINGS = {
    "ConditioningCombine": (
        node("ConditioningCombine", conditioning_1=["21", 0], conditioning_2=["22", 0]),
        "a cat, a hat",
    ),
    "ConditioningConcat": (
        node("ConditioningConcat", conditioning_to=["21", 0], conditioning_from=["22", 0]),
        "a cat, a hat",
    ),
    "ConditioningAverage": (
        node("ConditioningAverage", conditioning_to=["21", 0], conditioning_from=["22", 0],
             conditioning_to_strength=0.5),
        "a cat, a hat",
    ),
    "ConditioningSetArea": (
        node("ConditioningSetArea", conditioning=["21", 0], width=64, height=64, x=0, y=0), "a cat",
    ),
    "ConditioningSetTimestepRange": (
        node("ConditioningSetTimestepRange", conditioning=["21", 0], start=0.0, end=0.5), "a cat",
    ),
    "ConditioningSetMask": (
        node("ConditioningSetMask", conditioning=["21", 0], mask=["30", 0]), "a cat",
    ),
    "ControlNetApply": (
        node("ControlNetApply", conditioning=["21", 0], control_net=["30", 0], image=["30", 0]),
        "a cat",
    ),
    "ControlNetApplyAdvanced": (
        node("ControlNetApplyAdvanced", positive=["21", 0], negative=["22", 0], image=["30", 0],
             control_net=["30", 0]),
        "a cat",
    ),
    "FluxGuidance": (node("FluxGuidance", conditioning=["21", 0], guidance=3.5), "a cat"),
    "CLIPTextEncodeSDXL": (node("CLIPTextEncodeSDXL", text_g="big", text_l="small"), "big, small"),
    "CLIPTextEncodeFlux": (node("CLIPTextEncodeFlux", clip_l="x", t5xxl=["31", 0]), "x, a cat"),
    "ConditioningZeroOut": (node("ConditioningZeroOut", conditioning=["21", 0]), ""),
    "ImpactWildcardEncode": (
        node("ImpactWildcardEncode", wildcard_text="{a|b}", populated_text="b", clip=["1", 1]), "b",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONDITIONINGS)
def test_conditionings_are_followed_through_nodes(name: str) -> None:
    made, text = CONDITIONINGS[name]
    graph = {
        **BASE, "2": made, "21": TEXT, "22": MORE, "31": A,
        "30": node("LoadImage", image="x.png", text="not a prompt"),
    }  # fmt: skip
    record = read(graph)
    assert (record.fields["prompt"], record.not_found) == (text, {})


def test_a_node_that_throws_its_input_away_ends_the_walk() -> None:
    zero = node("ConditioningZeroOut", conditioning=["2", 0])
    record = read({**BASE, "2": TEXT, "3": zero})
    assert record.fields["prompt"] == "a cat"
    assert record.fields["negative_prompt"] == ""


@pytest.mark.parametrize("kind", ["ConditioningConcat", "ConditioningCombine", "Reroute"])
def test_nodes_that_link_only_to_each_other_have_no_prompt(kind: str) -> None:
    ring = {
        "20": {"class_type": kind, "inputs": {"conditioning_1": ["21", 0], "a": ["20", 0]}},
        "21": {"class_type": kind, "inputs": {"conditioning_1": ["20", 0]}},
    }
    record = read({**BASE, **ring})
    assert record.not_found == {"prompt": f"node 20 ({kind})"}
    assert "prompt" not in record.fields


def test_a_negative_prompt_is_not_found_by_itself() -> None:
    lost = node("CLIPTextEncode", text=["9", 0])
    record = read({**BASE, "2": TEXT, "3": lost, "9": LOST["a file"]})
    assert record.fields["prompt"] == "a cat"
    assert record.not_found == {"negative_prompt": "node 9 (Load Text File)"}


def guided(kind: str, **inputs: object) -> dict[str, Any]:
    return {
        **BASE,
        "2": TEXT,
        "5": node("SamplerCustomAdvanced", noise=["10", 0], guider=["11", 0], sampler=["12", 0],
                  sigmas=["13", 0], latent_image=["4", 0]),
        "10": node("RandomNoise", noise_seed=5),
        "11": node(kind, model=["1", 0], **inputs),
        "12": node("KSamplerSelect", sampler_name="euler"),
        "13": node("BasicScheduler", scheduler="normal", steps=20, denoise=1.0),
        "22": MORE,
    }  # fmt: skip


GUIDERS = {
    "BasicGuider": {"conditioning": ["2", 0]},
    "CFGGuider": {"positive": ["2", 0], "negative": ["3", 0], "cfg": 8.0},
    "DualCFGGuider": {
        "cond1": ["2", 0], "cond2": ["22", 0], "negative": ["3", 0], "cfg_conds": 8.0,
        "cfg_cond2_negative": 2.0,
    },
    "PerpNegGuider": {"positive": ["2", 0], "negative": ["3", 0], "empty_conditioning": ["22", 0],
                      "cfg": 8.0, "neg_scale": 1.0},
}  # fmt: skip


@pytest.mark.parametrize("kind", GUIDERS)
def test_the_guiders_of_several_conditionings(kind: str) -> None:
    record = read(guided(kind, **GUIDERS[kind]))
    assert record.fields["prompt"] == "a cat"
    if kind != "BasicGuider":
        assert record.fields["negative_prompt"] == "a dog"
        assert record.fields["guidance_scale"] == 8.0
    assert record.extra.get("second prompt") == ("a hat" if kind == "DualCFGGuider" else None)


def test_a_pipe_and_a_loader_that_encodes() -> None:
    loader = node("Efficient Loader", ckpt_name="x", positive=["21", 0], negative="a dog")
    sampler = {**SAMPLER["inputs"], "positive": ["2", 1], "negative": ["2", 2]}
    record = read({**BASE, "2": loader, "5": node("KSampler (Efficient)", **sampler), "21": A})
    assert (record.fields["prompt"], record.fields["negative_prompt"]) == ("a cat", "a dog")
    pipe = node("ToBasicPipe", model=["1", 0], positive=["21", 0], negative=["3", 0])
    inputs = {k: v for k, v in sampler.items() if k not in ("positive", "negative")}
    piped = node("ImpactKSamplerBasicPipe", basic_pipe=["2", 0], **inputs)
    record = read({**BASE, "2": pipe, "5": piped, "21": TEXT})
    assert (record.fields["prompt"], record.fields["negative_prompt"]) == ("a cat", "a dog")


def test_the_sampler_of_the_saved_image_counts() -> None:
    other = {**SAMPLER["inputs"], "seed": 77, "positive": ["22", 0]}
    control = node("ControlNetApply", conditioning=["21", 0], image=["31", 0], control_net=["1", 0])
    graph = {
        "30": node("KSampler", **other),
        "31": node("VAEDecode", samples=["30", 0]),
        "32": node("PreviewImage", images=["31", 0]),
        **BASE,
        "2": control,
        "21": TEXT,
        "22": MORE,
    }
    record = read(graph)
    # The other sampler's image is only a hint for the ControlNet.
    assert (record.fields["prompt"], record.fields["seed"]) == ("a cat", 5)
    assert record.extra["further samplers"] == "KSampler"


def test_texts_that_double_or_nest_have_an_end() -> None:
    chain = {
        str(i): node("StringConcatenate", string_a=[str(i + 1), 0], string_b=[str(i + 1), 0])
        for i in range(20, 90)
    }
    assert "prompt" in read({**BASE, **chain, "90": A}).not_found
    deep = {str(i): node("Reroute", **{"": [str(i + 1), 0]}) for i in range(20, 900)}
    assert "prompt" in read({**BASE, **deep, "900": A}).not_found


@pytest.mark.parametrize("how", ["--as-command", "--as-prompt-line"])
def test_a_prompt_that_is_not_found_is_refused(run_cli, tmp_path: Path, how: str) -> None:
    graph = {**BASE, "20": LOST["wildcards"]}
    path = str(png(tmp_path / "x.png", {"prompt": json.dumps(graph)}))
    place = "node 20 (ImpactWildcardProcessor)"
    ran = run_cli("inspect", path, how)
    assert (ran.code, ran.stdout) == (2, "")
    assert f"prompt not found: {place}" in ran.stderr
    told = run_cli("inspect", path, "--json").document["foreign"]
    assert "prompt" not in told["request"]
    assert told["not_found"] == {"prompt": place}
    assert f"not found: {place}" in run_cli("inspect", path).stdout


def test_an_empty_prompt_is_found(run_cli, tmp_path: Path) -> None:
    graph = {**BASE, "20": TEXTS["empty"][0]}
    path = str(png(tmp_path / "x.png", {"prompt": json.dumps(graph)}))
    assert run_cli("inspect", path, "--json").document["foreign"]["request"]["prompt"] == ""
    assert run_cli("inspect", path, "--as-command").stdout.endswith(" ''\n")


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"])
def test_a_prompt_that_no_request_can_have_is_refused(run_cli, tmp_path: Path, text: str) -> None:
    graph = {**BASE, "2": node("CLIPTextEncode", text=text)}
    path = str(png(tmp_path / "x.png", {"prompt": json.dumps(graph)}))
    for how in ("--as-command", "--as-prompt-line"):
        ran = run_cli("inspect", path, how)
        assert (ran.code, ran.stdout, "prompt" in ran.stderr) == (2, "", True)
    assert run_cli("inspect", path).code == 0
    assert run_cli("inspect", path, "--json").code == 0
