"""The conditioning of a batch has one row per job, and events about ignored text."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sdcli.engine.text.conditioning import encode_prompts
from tests.jobs import make_job


def test_each_job_has_its_own_embeddings(loaded: Any) -> None:
    jobs = [make_job(prompt="a cat", negative_prompt="red"), make_job(prompt="a dog")]
    conditioning = encode_prompts(loaded.prompt_encoder, jobs)[1]
    assert conditioning.negative_prompt_embeds is not None
    for row, job in enumerate(jobs):
        encode = loaded.prompt_encoder.encode
        positive, negative = encode(job.prompt).embeds, encode(job.negative_prompt).embeds
        assert torch.equal(conditioning.prompt_embeds[row], positive[0])
        assert torch.equal(conditioning.negative_prompt_embeds[row], negative[0])
    assert conditioning.events == [(), ()]


@pytest.mark.parametrize(("guidance_scale", "guided"), [(0.0, False), (1.0, False), (1.01, True)])
def test_negative_prompts_are_encoded_only_for_guidance(
    loaded: Any, guidance_scale: float, guided: bool
) -> None:
    jobs = [
        make_job(guidance_scale=guidance_scale, negative_prompt="red"),
        make_job(guidance_scale=guidance_scale),
    ]
    conditioning = encode_prompts(loaded.prompt_encoder, jobs)[1]
    assert (conditioning.negative_prompt_embeds is not None) is guided
    assert ["negative prompt is ignored" in str(events) for events in conditioning.events] == [
        not guided,
        False,
    ]


def test_clip_skip_applies_to_the_prompt_only(loaded: Any) -> None:
    job = make_job(clip_skip=1, negative_prompt="red")
    conditioning = encode_prompts(loaded.prompt_encoder, [job])[1]
    encode = loaded.prompt_encoder.encode
    assert torch.equal(conditioning.prompt_embeds, encode(job.prompt, 1).embeds)
    assert conditioning.negative_prompt_embeds is not None
    assert torch.equal(conditioning.negative_prompt_embeds, encode("red").embeds)


def test_both_prompts_report_what_was_cut_off(loaded: Any) -> None:
    job = make_job(prompt="cat " * 80 + "pizza", negative_prompt="dog " * 80 + "star")
    [events] = encode_prompts(loaded.prompt_encoder, [job])[1].events
    assert [event.partition(":")[0] for event in events] == ["prompt", "negative prompt"]
    assert "pizza" in events[0]
    assert "star" in events[1]
