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

    Of a prompt whose words have fixed places: `check_word_places` refuses the others.
    """
    return find_words(prompt_tokenizer(run.parts[0]), run.runs[image].job.prompt)


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
