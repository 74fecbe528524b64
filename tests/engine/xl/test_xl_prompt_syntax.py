"""Both text encoders of Stable Diffusion XL read the syntax of prompts."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tests.engine.recorded_latents import latents_of
from tests.engine.xl.hand_calls import xl_job

LONG = "a dog " * 40


def test_both_text_encoders_of_xl_read_the_syntax(xl: Any) -> None:
    encoder = xl.prompt_encoder
    plain = encoder.encode_prompt(xl_job(prompt="a cat"))
    same = encoder.encode_prompt(xl_job(prompt="a cat", reads_syntax=True))
    assert torch.equal(plain.embeds, same.embeds)
    assert torch.equal(plain.pooled, same.pooled)
    weighted = encoder.encode_prompt(xl_job(prompt="a (cat:1.5)", reads_syntax=True))
    assert torch.equal(plain.pooled, weighted.pooled)
    begin = 0
    for text_encoder in (xl.pipeline.text_encoder, xl.pipeline.text_encoder_2):
        width = text_encoder.config.hidden_size
        before = plain.embeds[..., begin : begin + width]
        rows = torch.ones(77)
        rows[2] = 1.5
        expected = before * rows[None, :, None]
        expected = expected * (before.mean() / expected.mean())
        assert torch.allclose(weighted.embeds[..., begin : begin + width], expected, atol=1e-5)
        begin += width


def test_a_long_second_prompt_of_xl_is_filled_up_with_empty_chunks(xl: Any) -> None:
    job = xl_job(prompt="a cat", prompt_2=LONG, reads_syntax=True)
    embeds = xl.prompt_encoder.encode_prompt(job).embeds
    width = xl.pipeline.text_encoder.config.hidden_size
    empty = xl.prompt_encoder.encode_prompt(xl_job(prompt="", reads_syntax=True)).embeds
    assert embeds.shape[1] == 154
    assert torch.equal(embeds[:, 77:, :width], empty[..., :width])
    assert np.isfinite(latents_of(xl, job)).all()


def test_xl_schedules_change_the_pooled_embeddings_too(xl: Any) -> None:
    late = latents_of(xl, xl_job(prompt="[a cat:a dog:0]", reads_syntax=True))
    assert np.array_equal(late, latents_of(xl, xl_job(prompt="a dog")))
    never = latents_of(xl, xl_job(prompt="[a cat:a dog:1.0]", reads_syntax=True))
    assert np.array_equal(never, latents_of(xl, xl_job(prompt="a cat")))
    half = latents_of(xl, xl_job(prompt="[a cat:a dog:0.5]", reads_syntax=True))
    assert not np.array_equal(half, late)
    both = latents_of(xl, xl_job(prompt="a cat AND a dog :0", reads_syntax=True))
    assert np.allclose(both, never, atol=2e-5)


def test_a_negative_prompt_that_was_left_out_has_no_notes_of_the_prompt(xl: Any) -> None:
    job = xl_job(prompt="(a cat:-400)", reads_syntax=True)
    assert xl.prompt_encoder.encode_prompt(job).notes
    assert xl.prompt_encoder.encode_negative_prompt(job).notes == ()


def test_both_text_encoders_of_xl_read_compel(xl: Any) -> None:
    encoder = xl.prompt_encoder
    plain = encoder.encode_prompt(xl_job(prompt="a cat"))
    empty = encoder.encode_prompt(xl_job(prompt=" ")).embeds
    compel = {"prompt_syntax": "compel", "reads_syntax": True}
    weighted = encoder.encode_prompt(xl_job(prompt="a (cat)1.5", **compel))
    assert torch.equal(plain.pooled, weighted.pooled)
    expected = plain.embeds.clone()
    expected[:, 2] = empty[:, 2] + (expected[:, 2] - empty[:, 2]) * 1.5
    assert torch.equal(weighted.embeds, expected)
    less = encoder.encode_prompt(xl_job(prompt="a (cat)0.5", **compel)).embeds
    assert torch.isfinite(less).all()
    # Causal attention: what comes before the hidden word has the same state with and without it.
    assert torch.allclose(less[:, :2], plain.embeds[:, :2], atol=1e-5)
    assert not torch.allclose(less[:, 3:], plain.embeds[:, 3:], atol=1e-3)
