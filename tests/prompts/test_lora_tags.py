"""`<lora:NAME:WEIGHT>` in prompts, as A1111 reads it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdcli.errors import UsageError
from sdcli.fields.lora import LoraUse, parse_loras
from sdcli.prompts.lora_tags import drop_open_tags, format_tag, tagged_loras, take_lora_tags
from sdcli.request import GenerationRequest


@pytest.mark.parametrize(
    ("prompt", "rest", "lora"),
    [
        ("a cat <lora:style:0.8>", "a cat", "style:0.8"),
        ("<lora:style:0.8> a cat", "a cat", "style:0.8"),
        ("a <lora:style> cat", "a cat", "style:1"),
        ("a cat<LoRA:style:1><lyco:b:-0.5>, red", "a cat, red", "style:1;b:-0.5"),
        ("a cat <lora:embedded:flag:0.5>", "a cat", "embedded:flag:0.5"),
        ("a cat <lora:a:0.8:0.5>", "a cat", "a:0.5:0.8"),  # A1111: text encoder, then UNet
        ("a cat <lora:a:1:te=0.2:unet=0.7>", "a cat", "a:0.7:0.2"),
        ("a cat <lora:a b c:1>", "a cat", "a b c:1"),
        ("a cat", "a cat", None),
        ("3 < 4 and <b>", "3 < 4 and <b>", None),
        ("a <lora:a:1:te=+.5e0>", "a", "a:1:0.5"),
    ],
)
def test_tags_become_loras(prompt: str, rest: str, lora: str | None) -> None:
    taken = take_lora_tags(GenerationRequest(prompt=prompt))
    assert (taken.prompt, taken.lora) == (rest, lora)
    assert take_lora_tags(taken) == taken


def test_tags_add_to_the_loras_of_the_request() -> None:
    request = GenerationRequest(prompt="a cat <lora:b:0.5>", lora="a.safetensors:0.8")
    assert take_lora_tags(request).lora == "a.safetensors:0.8;b:0.5"
    assert take_lora_tags(GenerationRequest(prompt="<lora:b>", lora="none")).lora == "b:1"


@pytest.mark.parametrize(
    "tag",
    ["<lora:>", "<lora::0.8>", "<lora:a:dyn=3>", "<lora:a:te=x>", "<lora:a:1e9>",
     "<lora:a:te=nan>", "<lora:a:te=inf>", "<lora:a:unet=-inf>", "<lora:a:te=>",
     "<lora:a:te=1e9>"],
)  # fmt: skip
def test_what_a_tag_cannot_be_is_refused(tag: str) -> None:
    with pytest.raises(UsageError) as caught:
        take_lora_tags(GenerationRequest(prompt=f"a cat {tag}"))
    assert caught.value.message.startswith(f"prompt: '{tag}'")
    assert caught.value.code == "usage.prompt"


@pytest.mark.parametrize("prompt", ["a <lora:b:1>", "a <lora:>", "a <lora:{b|c}:1>"])
def test_a_plain_prompt_has_no_tags(prompt: str) -> None:
    request = GenerationRequest(prompt=prompt, prompt_syntax="plain", lora="a:1")
    assert take_lora_tags(request) is request
    assert drop_open_tags(request) is request
    assert tagged_loras(request) == ()


def test_a_tag_with_a_wildcard_waits_until_it_is_filled() -> None:
    request = GenerationRequest(prompt="a cat <lora:{a|b}:1> <lora:c:1>")
    assert drop_open_tags(request).prompt == "a cat  <lora:c:1>"
    filled = GenerationRequest(prompt="a cat <lora:a:1>")
    assert drop_open_tags(filled) is filled


weights = st.floats(-100, 100).map(lambda value: round(value, 4))


@given(weights, weights)
def test_a_written_tag_is_read_as_it_was(unet: float, text_encoder: float) -> None:
    use = LoraUse(name="a", unet=unet, text_encoder=text_encoder)
    assert tagged_loras(GenerationRequest(prompt=format_tag(use, "a"))) == (use,)
    assert parse_loras(str(use)) == (use,)


@given(st.text(alphabet="<lora:>;., a1=-_te", max_size=40))
def test_no_text_is_a_crash(text: str) -> None:
    try:
        once = take_lora_tags(GenerationRequest(prompt=text))
    except UsageError:
        return
    assert take_lora_tags(once).prompt.count("<lora:") <= text.count("<lora:")
