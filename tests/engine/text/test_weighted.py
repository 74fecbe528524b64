"""Weighted prompts are encoded as A1111 encodes them, compared with arithmetic written out here."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sdcli.engine.text.weighted import UNRESTORED


def encode(loaded: Any, prompt: str, clip_skip: int | None = None) -> torch.Tensor:
    embeds: torch.Tensor = loaded.prompt_encoder.encode(prompt, clip_skip, reads_syntax=True).embeds
    return embeds


def states(loaded: Any, ids: list[int]) -> torch.Tensor:
    """The text encoder's states of one chunk of ids, without their marks and padding."""
    tokenizer, text_encoder = loaded.pipeline.tokenizer, loaded.pipeline.text_encoder
    end = tokenizer.eos_token_id
    padded = [tokenizer.bos_token_id, *ids, end] + [tokenizer.pad_token_id] * (75 - len(ids))
    with torch.no_grad():
        result: torch.Tensor = text_encoder(torch.tensor([padded]))[0]
    return result


def ids_of(loaded: Any, text: str) -> list[int]:
    ids: list[int] = loaded.pipeline.tokenizer(text, add_special_tokens=False).input_ids
    return ids


@pytest.mark.parametrize(
    "prompt",
    ["", "a cat", "A red  star, a dog", "a cat:1.3", "cat " * 75, "a | b {c}", "<|endoftext|> cat"],
)
def test_a_plain_prompt_is_equal_to_diffusers_to_the_bit(loaded: Any, prompt: str) -> None:
    with torch.no_grad():
        expected, _ = loaded.pipeline.encode_prompt(prompt, "cpu", 1, False)
    assert torch.equal(encode(loaded, prompt), expected)


def test_a_plain_prompt_is_equal_to_diffusers_with_skipped_layers(loaded: Any) -> None:
    plain = loaded.prompt_encoder.encode("a cat", 1).embeds
    assert torch.equal(encode(loaded, "a cat", 1), plain)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a cat", (-0.53672, -0.31717, -1.84056)),
        ("a (cat)", (-0.58936, -0.34828, -2.02107)),
        ("a (cat:1.3)", (-0.69409, -0.41016, -2.38019)),
        ("a [cat]", (-0.48871, -0.28880, -1.67590)),
        ("((a cat))", (-0.64465, -0.38095, -2.21066)),
        ("(a (cat:1.5):0.8)", (-0.64410, -0.38063, -2.20878)),
    ],
)
def test_weights_give_the_numbers_of_a_separate_computation(
    loaded: Any, prompt: str, expected: tuple[float, ...]
) -> None:
    """The numbers come from a script that shares no code with sdcli."""
    assert encode(loaded, prompt)[0, 2, :3].tolist() == pytest.approx(expected, abs=5e-5)


def test_weights_multiply_the_rows_and_keep_the_mean(loaded: Any) -> None:
    before = states(loaded, ids_of(loaded, "a cat"))
    rows = torch.ones(77)
    rows[2] = 1.3
    weighted = before * rows[None, :, None]
    expected = weighted * (before.mean() / weighted.mean())
    embeds = encode(loaded, "a (cat:1.3)")
    assert torch.allclose(embeds, expected, atol=1e-6)
    assert embeds.mean().item() == pytest.approx(before.mean().item(), abs=1e-6)


def test_a_long_prompt_is_encoded_in_chunks(loaded: Any) -> None:
    ids = ids_of(loaded, "cat " * 80)
    embeds = encode(loaded, "cat " * 80)
    assert embeds.shape[1] == 154
    assert torch.equal(embeds[:, :77], states(loaded, ids[:75]))
    assert torch.equal(embeds[:, 77:], states(loaded, ids[75:]))


def test_break_begins_a_chunk(loaded: Any) -> None:
    embeds = encode(loaded, "a cat BREAK a dog")
    assert torch.equal(embeds[:, :77], states(loaded, ids_of(loaded, "a cat")))
    assert torch.equal(embeds[:, 77:], states(loaded, ids_of(loaded, "a dog")))


def test_escaped_brackets_are_words(loaded: Any) -> None:
    plain = loaded.prompt_encoder.encode("a (cat)").embeds
    assert torch.equal(encode(loaded, r"a \(cat\)"), plain)


def test_a_mean_that_cannot_be_restored_is_left_and_told(loaded: Any) -> None:
    embedding = loaded.prompt_encoder.encode("(a cat:-400)", reads_syntax=True)
    assert embedding.notes == (UNRESTORED,)
    assert torch.isfinite(embedding.embeds).all()
    before = states(loaded, ids_of(loaded, "a cat"))
    assert torch.allclose(embedding.embeds[:, 1:3], before[:, 1:3] * -400)
    assert loaded.prompt_encoder.encode("(a cat:1.2)", reads_syntax=True).notes == ()
