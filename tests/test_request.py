"""Requests: one gate, and JSON there and back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdcli.errors import UsageError
from sdcli.pipeline_spec import PipelineSpec
from sdcli.request import MAX_SEED, GenerationRequest

words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
names = words.filter(bool)
specs = st.builds(
    PipelineSpec,
    model=names,
    vae=st.none() | names,
    dtype=st.sampled_from([None, "float32", "float16", "bfloat16"]),
    device=st.sampled_from(["auto", "cpu", "cuda", "cuda:3", "mps"]),
    variant=st.none() | names,
    offline=st.booleans(),
)
requests = st.builds(
    GenerationRequest,
    prompt=words,
    negative_prompt=st.none() | words,
    spec=specs,
    scheduler=st.none() | names,
    num_inference_steps=st.none() | st.integers(1, 1000),
    guidance_scale=st.none() | st.floats(0, 30),
    guidance_rescale=st.none() | st.floats(0, 1),
    eta=st.none() | st.floats(0, 1),
    clip_skip=st.none() | st.integers(0, 12),
    width=st.none() | st.integers(8, 2048),
    height=st.none() | st.integers(8, 2048),
    seed=st.none() | st.integers(0, 2**40),
    count=st.integers(1, 9),
)


@given(requests)
def test_a_request_survives_json(request):
    assert GenerationRequest.from_dict(json.loads(json.dumps(request.to_dict()))) == request


def test_limits_are_told_to_the_last_digit():
    with pytest.raises(UsageError, match=f"-2 is not between 0 and {MAX_SEED}"):
        GenerationRequest(prompt="", seed=-2)


def test_fields_may_be_left_out():
    assert GenerationRequest.from_dict({"prompt": "a cat", "model": "x/y"}) == GenerationRequest(
        prompt="a cat", spec=PipelineSpec(model="x/y")
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_inference_steps", 0),
        ("num_inference_steps", 1001),
        ("num_inference_steps", 2.5),
        ("num_inference_steps", True),
        ("guidance_scale", float("nan")),
        ("guidance_scale", -1.0),
        ("guidance_scale", "7"),
        ("guidance_rescale", 1.5),
        ("eta", 2),
        ("clip_skip", -1),
        ("width", 4),
        ("height", 10**6),
        ("seed", -1),
        ("seed", MAX_SEED + 1),
        ("count", 0),
        ("prompt", 3),
        ("prompt", "\ud800"),
        ("prompt", "x" * 20_000),
        ("scheduler", ""),
        ("mask_invert", 1),
        ("keep_unmasked", 0),
        ("prompt_2", 0),
        ("negative_prompt_2", False),
        ("vae_tiling", "maybe"),
        ("inpaint_area", "half"),
        ("resize", ["crop"]),
        ("hires_upscaler", "esrgan"),
        ("prompt_syntax", "invokeai"),
    ],
)
def test_the_gate_refuses(field, value):
    with pytest.raises(UsageError) as caught:
        GenerationRequest(**{"prompt": "a cat", field: value})
    assert field in caught.value.message
    assert caught.value.code == f"usage.{field}"


@pytest.mark.parametrize(
    ("field", "value"),
    [("model", ""), ("dtype", "fp8"), ("device", "gpu"), ("device", "cuda:x"), ("offline", "no")],
)
def test_the_gate_of_a_spec_refuses(field, value):
    with pytest.raises(UsageError, match=field):
        PipelineSpec(**{field: value})


def test_the_last_image_of_a_count_has_a_seed_too():
    GenerationRequest(prompt="", seed=MAX_SEED - 1, count=2)
    with pytest.raises(UsageError, match="no room for 3 images"):
        GenerationRequest(prompt="", seed=MAX_SEED - 1, count=3)


def test_an_unknown_field_is_named_with_the_nearest():
    with pytest.raises(UsageError, match="'guidance_scales'") as caught:
        GenerationRequest.from_dict({"prompt": "a cat", "guidance_scales": 3})
    assert caught.value.hint == "did you mean guidance_scale?"


def test_a_request_needs_a_prompt():
    with pytest.raises(UsageError, match="needs a prompt"):
        GenerationRequest.from_dict({"seed": 1})
