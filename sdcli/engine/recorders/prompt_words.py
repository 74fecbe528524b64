"""Find the words of a run's prompts, and check the steps that a recorder selects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sdcli.attention import PromptWord
from sdcli.engine.denoise.run_part import RunPart
from sdcli.engine.recorders.observed_run import ObservedRun
from sdcli.engine.text.words import find_words
from sdcli.errors import UsageError


def find_prompt_words(run: ObservedRun, image: int) -> tuple[PromptWord, ...]:
    """Return the words of an image's prompt, by its position in the batch.

    Raises UsageError for a prompt that is not encoded as the tokens of one text, whose places are
    then unknown.
    """
    first, job = run.parts[0], run.runs[image].job
    tokenizer = prompt_tokenizer(first)
    # Weights change the states after they are encoded, and a schedule changes the words themselves.
    if job.reads_syntax:
        raise UsageError(
            "attention: a prompt with weights, schedules or AND has no fixed places of its words",
            code="attention.prompt",
            hint="write the words without them, or add --prompt-syntax plain",
        )
    if first.conditioning.prompt_embeds.shape[1] != tokenizer.model_max_length:
        raise UsageError(
            f"attention: the prompt is longer than the {tokenizer.model_max_length} tokens that "
            "the text encoder reads together",
            code="attention.prompt",
            hint="shorten the prompt",
        )
    return find_words(tokenizer, job.prompt)


def prompt_tokenizer(part: RunPart) -> Any:
    """Return the tokenizer of the text that a part of a run reads; a refiner has the second."""
    return getattr(part.pipeline, "tokenizer", None) or part.pipeline.tokenizer_2


def check_steps(steps: Sequence[int], last: int) -> None:
    """Raise UsageError for a step that a run of `last` UNet calls does not have."""
    for step in steps:
        if step > last:
            raise UsageError(
                f"--at-steps: there is no step {step}, this run has {last}",
                code="usage.at_steps",
            )
