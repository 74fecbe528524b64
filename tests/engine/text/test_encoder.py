"""Prompt embeddings equal those of the pipeline, and truncated text is reported."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sdcli.engine.text.encoder import PromptEncoder
from sdcli.errors import UsageError

PROMPTS = ["", "a cat", "a red circle on a blue background", "a cat " * 60, "Ünïcode 🐱"]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_embeddings_equal_those_of_diffusers(loaded: Any, plain: Any, prompt: str) -> None:
    ours = loaded.prompt_encoder.encode(prompt).embeds
    theirs, _ = plain.encode_prompt(prompt, torch.device("cpu"), 1, False)
    assert torch.equal(ours, theirs)
    assert ours.shape[:2] == (1, 77)


def test_clip_skip_zero_is_the_last_layer(loaded: Any) -> None:
    encoder = loaded.prompt_encoder
    assert torch.equal(encoder.encode("a cat", 0).embeds, encoder.encode("a cat").embeds)
    assert not torch.equal(encoder.encode("a cat", 1).embeds, encoder.encode("a cat").embeds)


def test_clip_skip_is_limited_by_the_number_of_layers(loaded: Any) -> None:
    layers = loaded.pipeline.text_encoder.config.num_hidden_layers
    loaded.prompt_encoder.encode("a cat", layers)
    with pytest.raises(UsageError, match=f"has {layers} layers") as caught:
        loaded.prompt_encoder.encode("a cat", layers + 1)
    assert caught.value.code == "usage.clip_skip"


def test_equal_prompts_are_encoded_once(loaded: Any) -> None:
    pipeline, calls = loaded.pipeline, []
    hook = pipeline.text_encoder.register_forward_hook(lambda *_: calls.append(1))
    try:
        encoder = PromptEncoder(pipeline.tokenizer, pipeline.text_encoder, torch.device("cpu"))
        first, second = encoder.encode("a cat"), encoder.encode("a cat")
        encoder.encode("a cat", 1)
    finally:
        hook.remove()
    assert first is second
    assert len(calls) == 2


@given(st.integers(0, 120))
def test_what_is_read_and_what_is_truncated_make_up_the_prompt(loaded: Any, words: int) -> None:
    truncated = loaded.prompt_encoder.encode("cat " * words).truncated_text
    # Of 77 tokens, two are the begin and the end of the text.
    assert len(truncated.split()) == max(0, words - 75)
