"""Compel's language is encoded as compel defines it, compared with arithmetic written out here."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from sdcli.engine.text.conditioning import encode_prompts, shape_of
from sdcli.engine.text.encoder import PromptEmbedding
from tests.engine.recorded_latents import latents_of
from tests.jobs import make_job


def embed(loaded: Any, prompt: str, **changes: Any) -> PromptEmbedding:
    job = make_job(prompt=prompt, prompt_syntax="compel", reads_syntax=True, **changes)
    embedding: PromptEmbedding = loaded.prompt_encoder.encode_prompt(job)
    return embedding


def encode(loaded: Any, prompt: str) -> torch.Tensor:
    return embed(loaded, prompt).embeds


def states(loaded: Any, text: str, hidden: range = range(0)) -> torch.Tensor:
    """The text encoder's states of a prompt, some of whose places are hidden from the others."""
    tokenizer, text_encoder = loaded.pipeline.tokenizer, loaded.pipeline.text_encoder
    ids = tokenizer(text, padding="max_length", truncation=True, return_tensors="pt").input_ids
    mask = torch.ones_like(ids)
    mask[0, list(hidden)] = 0
    with torch.no_grad():
        result: torch.Tensor = text_encoder(ids, attention_mask=mask)[0]
    return result


@pytest.mark.parametrize(
    "prompt",
    ["", "a cat", "A red  star, a dog", "a cat:1.3", "dog " * 90, "a | b {c}", "a (cat) dog"],
)
def test_a_prompt_without_weights_is_equal_to_diffusers_to_the_bit(
    loaded: Any, prompt: str
) -> None:
    with torch.no_grad():
        words = prompt.replace("(", "").replace(")", "")
        expected, _ = loaded.pipeline.encode_prompt(words, "cpu", 1, False)
    assert torch.equal(encode(loaded, prompt), expected)


@pytest.mark.parametrize(
    ("prompt", "weight"),
    [("a (cat)1.3 dog", 1.3), ("a cat++ dog", 1.1**2), ("a cat+++ dog", 1.331)],
)
def test_a_weight_above_one_moves_away_from_the_empty_prompt(
    loaded: Any, prompt: str, weight: float
) -> None:
    expected, empty = states(loaded, "a cat dog"), states(loaded, "")
    expected[:, 2] = empty[:, 2] + (expected[:, 2] - empty[:, 2]) * weight
    assert torch.equal(encode(loaded, prompt), expected)


@pytest.mark.parametrize(("prompt", "weight"), [("a (cat)0.5 dog", 0.5), ("a cat-- dog", 0.9**2)])
def test_text_below_one_is_also_hidden_from_the_rest(
    loaded: Any, prompt: str, weight: float
) -> None:
    whole, hidden = states(loaded, "a cat dog"), states(loaded, "a cat dog", range(2, 3))
    empty = states(loaded, "")
    for one in (whole, hidden):
        one[:, 2] = empty[:, 2] + (one[:, 2] - empty[:, 2]) * weight
    share = math.tan((1 - weight) * math.pi / 2)
    expected = (whole + hidden * share) / (1 + share)
    assert torch.allclose(encode(loaded, prompt), expected, atol=1e-5)


def test_a_weight_of_zero_leaves_the_text_hidden(loaded: Any) -> None:
    found, hidden = encode(loaded, "a (cat)0 dog"), states(loaded, "a cat dog", range(2, 3))
    hidden[:, 2] = states(loaded, "")[:, 2]
    assert torch.allclose(found, hidden, atol=1e-3)


def test_a_blend_is_the_weighted_mean(loaded: Any) -> None:
    cat, dog = states(loaded, "a cat"), encode(loaded, "dog++")
    blend = encode(loaded, '("a cat", "dog++").blend(0.6, 0.9)')
    assert torch.allclose(blend, cat * 0.4 + dog * 0.6, atol=1e-5)
    free = encode(loaded, '("a cat", "dog++").blend(0.6, -0.9, no_normalize)')
    assert torch.allclose(free, cat * 0.6 - dog * 0.9, atol=1e-5)
    assert torch.equal(encode(loaded, "(cat).blend(2)"), states(loaded, "cat"))


def test_and_puts_texts_one_after_the_other(loaded: Any) -> None:
    cat, dog, empty = (states(loaded, text) for text in ("a cat", "dog", ""))
    found = encode(loaded, '("a cat", "dog").and(1, 0.5)')
    assert found.shape == (1, 154, cat.shape[2])
    assert torch.equal(found, torch.cat([cat, empty + (dog - empty) * 0.5], dim=1))


def test_the_end_of_a_long_prompt_is_cut_off_and_told(loaded: Any) -> None:
    embedding = embed(loaded, "cat++ " + "dog " * 74 + "red star")
    assert embedding.embeds.shape[1] == 77
    assert embedding.truncated_text.strip() == "red star"
    job = make_job(prompt="cat " * 76, prompt_syntax="compel", reads_syntax=True)
    [conditioning] = encode_prompts(loaded.prompt_encoder, [job]).values()
    assert any("was cut off: 'cat" in event for event in conditioning.events[0])


def test_the_negative_prompt_is_filled_up_and_read_in_the_same_way(loaded: Any) -> None:
    changes = {"prompt_syntax": "compel", "reads_syntax": True, "negative_prompt": "dog++"}
    job = make_job(prompt='("a cat", "a star").and()', **changes)
    assert shape_of(loaded.prompt_encoder, job) == (1, 2)
    [conditioning] = encode_prompts(loaded.prompt_encoder, [job]).values()
    negative = conditioning.negative_prompt_embeds
    assert negative is not None
    assert torch.equal(negative, torch.cat([encode(loaded, "dog++"), states(loaded, "")], dim=1))


def test_an_image_is_that_of_diffusers_with_these_embeddings(loaded: Any) -> None:
    from diffusers import StableDiffusionPipeline

    changes = {"prompt_syntax": "compel", "reads_syntax": True, "negative_prompt": "red"}
    job = make_job(prompt="a (cat)1.4 on a blue-- background", num_inference_steps=2, **changes)
    pipeline = StableDiffusionPipeline(**loaded.pipeline.components, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    from sdcli.engine.schedulers.build import build_scheduler

    pipeline.scheduler = build_scheduler(loaded.base_scheduler, job.scheduler, steps=2, seeds=[7])
    expected = pipeline(
        prompt_embeds=encode(loaded, job.prompt),
        negative_prompt_embeds=states(loaded, "red"),
        num_inference_steps=2,
        guidance_scale=job.guidance_scale,
        height=64,
        width=64,
        generator=torch.Generator("cpu").manual_seed(7),
        output_type="latent",
    ).images
    assert np.array_equal(latents_of(loaded, job), expected[0].numpy())


def test_a_job_reads_its_prompt_in_its_own_syntax() -> None:
    read = {"prompt": "a (cat)", "reads_syntax": True}
    compel, a1111 = (make_job(prompt_syntax=name, **read) for name in ("compel", "a1111"))
    plain = make_job(prompt="a (cat)", prompt_syntax="compel")
    assert len({compel.id, a1111.id, plain.id}) == 3
    assert plain.id == make_job(prompt="a (cat)").id
